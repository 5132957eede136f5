-- How much each key holds, beside the counters that ought to say so.
return {'ok', meta,
  call('HLEN', ROWS), call('HLEN', BLOBS), call('ZCARD', TIME), call('ZCARD', SEQ),
  call('ZCARD', ORDER), call('ZCARD', OBJECT), call('ZCARD', DEAD), call('HLEN', GRAVES),
  call('HLEN', STATE), call('ZCARD', NAMES)}
