-- Drops tombstones at or below the floor. ARGV: the epoch if another one is due, the channel, how
-- many at the most.
if not exists then return {'ok', 0} end
local above = '(' .. be8(tonumber(meta[4]) + 1)
local members = call('ZRANGEBYLEX', DEAD, '-', above, 'LIMIT', 0, tonumber(ARGV[3]))
if #members == 0 then return {'ok', 0} end
if tonumber(meta[7]) < #members then
  return redis.error_reply('CORRUPT a counter is lower than what it counts')
end
local ids = {}
for i = 1, #members do ids[i] = sub(members[i], 9, 40) end
local graves, gone = call('HMGET', GRAVES, unpack(ids)), {}
for i = 1, #members do
  -- A newer tombstone of the same id stays.
  if graves[i] == members[i] then gone[#gone + 1] = ids[i] end
end
call('ZREM', DEAD, unpack(members))
if #gone > 0 then call('HDEL', GRAVES, unpack(gone)) end
call('HSET', META, 'tombstones', decimal(tonumber(meta[7]) - #members),
  'epoch', moved and ARGV[1] or exists, 'server', server)
if moved then pcall_('PUBLISH', ARGV[2], '') end
return {'ok', #members}
