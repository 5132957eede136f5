-- State keys with their values, by the keys' bytes. ARGV: both bounds, rows, bytes.
local limit, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local next_name = walk(NAMES, ARGV[1], ARGV[2], limit)
local found, rows = {}, 0
while true do
  local name = next_name()
  if not name then return {'ok', found, 0} end
  local value = call('HGET', STATE, name)
  if not value then
    return redis.error_reply('CORRUPT an index holds a state key that has no value')
  end
  left = left - #value
  if rows == limit or (rows > 0 and left < 0) then return {'ok', found, 1} end
  rows = rows + 1
  found[2 * rows - 1], found[2 * rows] = name, value
end
