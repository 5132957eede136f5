-- How much each key holds, beside the counters that ought to say so.
return {'ok', meta,
  call('HLEN', ROWS), call('HLEN', BLOBS), call('ZCARD', TIME), call('ZCARD', SEQ),
  call('ZCARD', ORDER), call('ZCARD', OBJECT), call('ZCARD', TOMBSTONES), call('HLEN', TOMBSTONE_OF),
  call('HLEN', STATE), call('ZCARD', NAMES)}
