-- Begins a new epoch where another server wrote the space last. ARGV: the epoch, the channel.
if moved then
  -- A write that is allowed when memory is full makes those after it allowed: readers depend on it.
  call('HDEL', META, '')
  call('HSET', META, 'epoch', ARGV[1], 'server', server)
  pcall_('PUBLISH', ARGV[2], '')
end
return {'ok', {}}
