-- The rows of the first ids that fit the bytes. ARGV: the ids in one string, bytes.
local ids, left = ARGV[1], tonumber(ARGV[2])
local found, rows = {}, 0
for at = 1, #ids, 32 do
  local id = sub(ids, at, at + 31)
  local row = call('HGET', ROWS, id)
  if row then
    local object, payload = lengths(row)
    left = left - object - payload
    if rows > 0 and left < 0 then return {'ok', found} end
  end
  rows = rows + 1
  found[2 * rows - 1], found[2 * rows] = row, row and blob(id, row)
end
return {'ok', found}
