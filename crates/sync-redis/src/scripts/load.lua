-- The values of state keys. ARGV: the keys.
local values = {}
for from = 1, #ARGV, 1000 do
  local found = call('HMGET', STATE, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  for i = 1, #found do values[#values + 1] = found[i] end
end
return {'ok', values}
