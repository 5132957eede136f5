-- Rows in the order of one index. ARGV: the index's place in KEYS, both bounds, rows, bytes.
local limit, left = tonumber(ARGV[4]), tonumber(ARGV[5])
local next_member = walk(KEYS[tonumber(ARGV[1])], ARGV[2], ARGV[3], limit, true)
local found, rows = {}, 0
while true do
  local member, row = next_member()
  if not member then return {'ok', found, 0} end
  local id = sub(member, -32)
  if not row then
    return redis.error_reply('CORRUPT an index holds an id that has no row')
  end
  local object, payload = lengths(row)
  left = left - object - payload
  if rows == limit or (rows > 0 and left < 0) then return {'ok', found, 1} end
  rows = rows + 1
  found[3 * rows - 2], found[3 * rows - 1], found[3 * rows] = id, row, blob(id, row)
end
