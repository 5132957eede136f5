-- What every script of a space begins with.
--
-- KEYS: 1 meta, 2 rows, 3 blobs, 4 time, 5 seq, 6 order, 7 object, 8 dead (tombstones by seq), 9 graves
-- (the newest one of each id without a row, unless it was lifted), 10 state, 11 names. All of them carry the hash tag of the space.
local call, pcall_, sub, concat = redis.call, redis.pcall, string.sub, table.concat
local META, ROWS, BLOBS, TIME, SEQ, ORDER, OBJECT = unpack(KEYS, 1, 7)
local TOMBSTONES, TOMBSTONE_OF, STATE, NAMES = unpack(KEYS, 8, 11)

-- Eight bytes where a position is absent: above every position.
local NONE = string.rep('\255', 8)
-- Bytes of a row before its object: seq, ts, order, digest, length of the object, of the payload.
local HEAD = 46
-- The highest position, 2^53 - 1. A Lua number holds it exactly.
local HIGHEST = 9007199254740991

local function be8(number) return struct.pack('>I8', number) end
local function num(bytes) return (struct.unpack('>I8', bytes)) end
local function decimal(number) return string.format('%.0f', number) end

-- A primary's replication id is new whenever its process starts and whenever a replica takes over:
-- whenever another server answers than the one that acknowledged the space's last page.
local replication = call('INFO', 'replication')
if not string.find(replication, 'role:master', 1, true) then
  return redis.error_reply("READONLY this server is a replica, and what it has may be old")
end
local server = string.match(replication, 'master_replid:(%w+)')
local meta = call('HMGET', META, 'epoch', 'server', 'head', 'floor', 'total', 'ordered', 'tombstones')
local exists = meta[1]
local moved = exists and meta[2] ~= server
