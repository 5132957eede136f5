-- What every script that only reads goes on with. A space that another server wrote last is read
-- only under a new epoch, which the caller first writes with adopt.lua.
if moved then return {'moved'} end

-- The members of an index between two bounds, in windows, so that a long walk that its byte budget
-- ends early does not read the rest. With each one comes its row, where the walk is one of rows.
local function walk(key, min, max, limit, with_rows)
  local window = math.min(limit + 1, 128)
  local members, rows, at, ended = {}, nil, 0, false
  return function()
    at = at + 1
    if not members[at] and not ended then
      members = call('ZRANGEBYLEX', key, min, max, 'LIMIT', 0, window)
      ended = #members < window
      if not ended then min = '(' .. members[#members] end
      if with_rows and #members > 0 then
        local ids = {}
        for i = 1, #members do ids[i] = sub(members[i], -32) end
        rows = call('HMGET', ROWS, unpack(ids))
      end
      at = 1
    end
    return members[at], rows and rows[at]
  end
end

-- The bytes of a row's object and payload, without reading a large payload.
local function lengths(row)
  local object, payload = struct.unpack('>I2I4', sub(row, 41, HEAD))
  return object, payload
end

-- The payload that a row leaves to the other hash, or nothing.
local function blob(id, row)
  local object, payload = lengths(row)
  if #row == HEAD + object + payload then return '' end
  return call('HGET', BLOBS, id) or ''
end
