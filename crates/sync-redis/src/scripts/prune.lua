-- Looks at tombstones at or below the floor, by seq, and drops those that a prune does not spare.
-- ARGV: the epoch if another one is due, the channel, how many to look at, the seq after which to
-- begin, the code of an operator's reason. Answers how many it dropped, how many it looked at, and
-- the seq of the last one.
if not exists then return {'ok', {0, 0, '0'}} end
local from, above = '[' .. be8(tonumber(ARGV[4]) + 1), '(' .. be8(tonumber(meta[4]) + 1)
local seen = call('ZRANGEBYLEX', TOMBSTONES, from, above, 'LIMIT', 0, tonumber(ARGV[3]))
if #seen == 0 then return {'ok', {0, 0, '0'}} end
local last = decimal(num(sub(seen[#seen], 1, 8)))
-- An operator's tombstone that was not lifted: `rules::outlives_prune`.
local spared = ARGV[5] .. '\0'
local members, ids = {}, {}
for i = 1, #seen do
  if sub(seen[i], 41, 42) ~= spared then
    members[#members + 1], ids[#ids + 1] = seen[i], sub(seen[i], 9, 40)
  end
end
if #members == 0 then return {'ok', {0, #seen, last}} end
if tonumber(meta[7]) < #members then
  return redis.error_reply('CORRUPT a counter is lower than what it counts')
end
local newest, gone = call('HMGET', TOMBSTONE_OF, unpack(ids)), {}
for i = 1, #members do
  -- A newer tombstone of the same id stays.
  if newest[i] == members[i] then gone[#gone + 1] = ids[i] end
end
call('ZREM', TOMBSTONES, unpack(members))
if #gone > 0 then call('HDEL', TOMBSTONE_OF, unpack(gone)) end
call('HSET', META, 'tombstones', decimal(tonumber(meta[7]) - #members),
  'epoch', moved and ARGV[1] or exists, 'server', server)
if moved then pcall_('PUBLISH', ARGV[2], '') end
return {'ok', {#members, #seen, last}}
