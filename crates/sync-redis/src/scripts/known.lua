-- What is known of ids. ARGV: the ids in one string. Answers one string for each: L and the head of
-- a row, T and a tombstone, or U.
local ids = ARGV[1]
local tombstones = exists and tonumber(meta[7]) > 0
local known = {}
for from = 1, #ids, 32000 do
  local asked = {}
  for at = from, math.min(from + 31999, #ids), 32 do
    asked[#asked + 1] = sub(ids, at, at + 31)
  end
  local rows = call('HMGET', ROWS, unpack(asked))
  local newest = tombstones and call('HMGET', TOMBSTONE_OF, unpack(asked)) or {}
  for i = 1, #asked do
    if rows[i] then
      known[#known + 1] = 'L' .. sub(rows[i], 1, 24)
    elseif newest[i] then
      known[#known + 1] = 'T' .. newest[i]
    else
      known[#known + 1] = 'U'
    end
  end
end
return {'ok', known}
