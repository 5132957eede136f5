-- Raises the floor. ARGV: the epoch if another one is due, the channel, the seq.
if not exists then return {'ok', false} end
local floor = math.max(tonumber(meta[4]), math.min(tonumber(ARGV[3]), tonumber(meta[3])))
if floor > tonumber(meta[4]) then
  -- A prune frees memory: it goes on when memory is full.
  call('HDEL', META, '')
  call('HSET', META, 'floor', decimal(floor), 'epoch', moved and ARGV[1] or exists, 'server', server)
  pcall_('PUBLISH', ARGV[2], '')
end
return {'ok', decimal(floor)}
