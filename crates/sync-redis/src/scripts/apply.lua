-- Applies a page, all or nothing. An error of a script undoes nothing, so that everything is decided
-- and checked before the first write, and nothing after it can fail.
--
-- ARGV: 1 the epoch if another one is due, 2 the channel, 3 flags (registered, reset, replace,
-- revive, objects), 4 to 10 how many preconditions, lifts, deletes, upserts, large payloads, backfills
-- and state changes there are; then these, column by column.
local epoch, channel = ARGV[1], ARGV[2]
local function flag(n) return sub(ARGV[3], n, n) == '1' end
local registered, reset, replace, revive, objects = flag(1), flag(2), flag(3), flag(4), flag(5)
local arguments = 10
local function column(count)
  local before = arguments
  arguments = arguments + count
  return before
end
local expectations = tonumber(ARGV[4])
local expected_key, expected_value = column(expectations), column(expectations)
local lifts = tonumber(ARGV[5])
local lift_id = column(lifts)
local deletes = tonumber(ARGV[6])
-- reason, '1' to reject, source seq, ts; then the object.
local delete_id, delete_head, delete_object = column(deletes), column(deletes), column(deletes)
local upserts = tonumber(ARGV[7])
-- A row without its seq; the members of the time and the order index; the beginning of the object
-- index's, where any row has an object.
local upsert_id, upsert_row = column(upserts), column(upserts)
local upsert_time, upsert_order = column(upserts), column(upserts)
local upsert_object = objects and column(upserts)
local blobs = tonumber(ARGV[8])
local blob_upsert, blob_payload = column(blobs), column(blobs)
local backfills = tonumber(ARGV[9])
local backfill_id, backfill_order = column(backfills), column(backfills)
local changes = tonumber(ARGV[10])
local change_key, change_value = column(changes), column(changes)

-- Values that are looked up or written by one command. unpack fails near 8,000.
local CHUNK = 1000
local NOTHING = {}

-- What the keys hold before the page; nothing where it resets.
local fresh = reset or not exists
local head = exists and tonumber(meta[3]) or 0
local total = fresh and 0 or tonumber(meta[5])
local ordered = fresh and 0 or tonumber(meta[6])
local tombstones = fresh and 0 or tonumber(meta[7])
local first, exhausted, changed = head + 1, false, reset

local function look_up(key, before, from, count)
  return call('HMGET', key, unpack(ARGV, before + from, before + from + count - 1))
end

-- Preconditions, on what is there even if the page resets. '-' is absence, '=' comes before a value.
-- Each is checked, and a key that mismatches is named once.
local function mismatches()
  local found, named = {'conflict'}, {}
  for from = 1, expectations, CHUNK do
    local count = math.min(CHUNK, expectations - from + 1)
    local values = exists and look_up(STATE, expected_key, from, count) or NOTHING
    for k = 1, count do
      local expected, value = ARGV[expected_value + from + k - 1], values[k]
      local key = ARGV[expected_key + from + k - 1]
      if expected ~= (value and '=' .. value or '-') and not named[key] then
        named[key] = true
        found[#found + 1] = decimal(from + k - 2)
        found[#found + 1] = value or false
      end
    end
  end
  return found[2] and found
end
local conflict = mismatches()
if conflict then return conflict end

-- The name is in the list of spaces before there is a space, so that a kill in between loses none.
local unlisted = not exists and not registered
if unlisted and (reset or upserts > 0) then return {'register'} end

-- What the page leaves under an id that it changes. Most ids need no table of their own, which would
-- be most of what a large page costs:
--   n:  the row of the n-th insert, of an id that was unknown;
--   -n: the n-th added tombstone, of a stored row;
--   a table: live (with order, digest, ts, object, and insert or stored), tombstoned (with member),
--   or neither; stored_tombstone is the one from before the page.
local overlay = {}
-- Rows to insert: which upsert, its seq; a row other than the upsert's where its order differs.
local insert_of, insert_seq, insert_row, inserts = {}, {}, {}, 0
-- Orders for stored rows, and where each id's is; stored rows to remove; tombstones to add; stored
-- ones to rewrite; ids whose newest tombstone may be another one now.
local order_id, order_of, order_at, orders = {}, {}, {}, 0
local removed_id, removed_row, removals = {}, {}, 0
local added, adds = {}, 0
local rewritten, rewrite, rewrites = {}, {}, 0
local rechecked, rechecks = {}, 0

local function mint()
  if head >= HIGHEST then
    exhausted = true
    return NONE
  end
  head, changed = head + 1, true
  return be8(head)
end

local function live(s, row, insert)
  -- A row without its seq.
  s.live, s.tombstoned, s.insert = true, false, insert
  s.ts, s.order, s.digest = sub(row, 1, 8), sub(row, 9, 16), sub(row, 17, 32)
  s.object = sub(row, 39, 38 + (struct.unpack('>I2', sub(row, 33, 34))))
  return s
end

-- The table of an id, from what the keys hold or what the page has done so far.
local function state_of(id, row, tombstone)
  local s = overlay[id]
  if type(s) == 'table' then
    return s
  elseif s and s > 0 then
    s = live({}, insert_row[s] or ARGV[upsert_row + insert_of[s]], s)
  elseif s then
    s = {tombstoned = true, member = added[-s], added = -s}
    rechecks = rechecks + 1
    rechecked[rechecks], s.rechecked = id, true
  elseif row then
    s = live({stored = row}, sub(row, 9), nil)
    if order_at[id] then s.order = order_of[order_at[id]] end
  elseif tombstone then
    s = {tombstoned = true, member = tombstone, stored_tombstone = tombstone}
  else
    s = {}
  end
  overlay[id] = s
  return s
end

-- Rows and tombstones of one chunk of a column.
local function stored(before, from, count)
  if fresh then return NOTHING, NOTHING end
  local rows = look_up(ROWS, before, from, count)
  return rows, tombstones > 0 and look_up(TOMBSTONE_OF, before, from, count) or NOTHING
end

-- Looks up ids in chunks; act gets each with its row and its tombstone.
local function each(before, total_count, act)
  for from = 1, total_count, CHUNK do
    local count = math.min(CHUNK, total_count - from + 1)
    local rows, newest = stored(before, from, count)
    for k = 1, count do
      act(from + k - 1, ARGV[before + from + k - 1], rows[k], newest[k])
    end
  end
end

local function recheck(id, s)
  if not s.rechecked then
    s.rechecked = true
    rechecks = rechecks + 1
    rechecked[rechecks] = id
  end
end

local function rewrite_tombstone(s, member)
  if s.added then
    added[s.added] = member
  elseif s.rewrite then
    rewrite[s.rewrite] = member
  else
    rewrites = rewrites + 1
    rewritten[rewrites], rewrite[rewrites], s.rewrite = s.member, member, rewrites
  end
  s.member = member
end

-- A tombstone: seq, id, reason, whether it was lifted, source seq, ts, object.
local function add_tombstone(id, s, reason, source, ts, object)
  local member = mint() .. id .. reason .. '\0' .. source .. ts .. object
  adds = adds + 1
  added[adds] = member
  tombstones = tombstones + 1
  s.live, s.tombstoned, s.member, s.added, s.rewrite = false, true, member, adds, nil
  recheck(id, s)
end

local function remove(id, s, reason, source)
  total = total - 1
  if s.order ~= NONE then ordered = ordered - 1 end
  if s.insert then
    insert_of[s.insert] = false
  else
    removals = removals + 1
    removed_id[removals], removed_row[removals] = id, s.stored
    if order_at[id] then order_id[order_at[id]] = false end
  end
  add_tombstone(id, s, reason, source, s.ts, s.object)
end

local function insert(i, id, s, row)
  inserts = inserts + 1
  insert_of[inserts], insert_seq[inserts], insert_row[inserts] = i, mint(), row
  total = total + 1
  row = row or ARGV[upsert_row + i]
  if sub(row, 9, 16) ~= NONE then ordered = ordered + 1 end
  if s then
    live(s, row, inserts)
    if s.stored_tombstone then recheck(id, s) end
  else
    overlay[id] = inserts
  end
end

local function set_stored_order(id, order)
  ordered, changed = ordered + 1, true
  orders = orders + 1
  order_id[orders], order_of[orders], order_at[id] = id, order, orders
end

local function set_order(id, s, order)
  if not s.insert then
    set_stored_order(id, order)
  else
    local row = insert_row[s.insert] or ARGV[upsert_row + insert_of[s.insert]]
    insert_row[s.insert] = sub(row, 1, 8) .. order .. sub(row, 17)
    ordered, changed = ordered + 1, true
  end
  s.order = order
end

-- Whether the first position is there and above the second one, if that is.
local function above(order, source)
  return source == NONE or (order ~= NONE and num(order) > num(source))
end

local outcomes = {{}, {}, {}, {}}
local conflicts = {{}, {}}

each(lift_id, lifts, function(i, id, row, tombstone)
  local s = state_of(id, row, tombstone)
  if s.tombstoned then
    rewrite_tombstone(s, sub(s.member, 1, 41) .. '\1' .. sub(s.member, 43))
    s.tombstoned, changed = false, true
    recheck(id, s)
    outcomes[1][i] = 'L'
  else
    outcomes[1][i] = 'N'
  end
end)

each(delete_id, deletes, function(i, id, row, tombstone)
  local what, object = ARGV[delete_head + i], ARGV[delete_object + i]
  local source, outcome = sub(what, 3, 10), 'U'
  if row and not overlay[id] then
    -- The same as below, for a row that is only stored.
    local order, of = sub(row, 17, 24), ''
    local bytes = struct.unpack('>I2', sub(row, 41, 42))
    if bytes > 0 then of = sub(row, HEAD + 1, HEAD + bytes) end
    if object ~= '' and object ~= of then
      outcome = 'O'
    elseif source ~= NONE and order ~= NONE and num(order) >= num(source) then
      outcome = 'S'
    else
      outcome = 'D'
      total, tombstones = total - 1, tombstones + 1
      if order ~= NONE then ordered = ordered - 1 end
      removals, adds = removals + 1, adds + 1
      removed_id[removals], removed_row[removals] = id, row
      added[adds] = mint() .. id .. sub(what, 1, 1) .. '\0' .. source .. sub(row, 9, 16) .. of
      overlay[id] = -adds
    end
    outcomes[2][i] = outcome
    return
  end
  local s = state_of(id, row, tombstone)
  if s.live then
    if object ~= '' and object ~= s.object then
      outcome = 'O'
    elseif source ~= NONE and s.order ~= NONE and num(s.order) >= num(source) then
      outcome = 'S'
    else
      outcome = 'D'
      remove(id, s, sub(what, 1, 1), source)
    end
  elseif s.tombstoned then
    outcome = 'A'
    if source ~= NONE and above(source, sub(s.member, 43, 50)) then
      rewrite_tombstone(s, sub(s.member, 1, 42) .. source .. sub(s.member, 51))
      changed = true
      recheck(id, s)
    end
  elseif sub(what, 2, 2) == '1' then
    outcome = 'R'
    add_tombstone(id, s, sub(what, 1, 1), source, sub(what, 11, 18), object)
  end
  outcomes[2][i] = outcome
end)

-- The outcome of an upsert whose id is not simply unknown.
local function upsert(i, id, s)
  local row = ARGV[upsert_row + i]
  local order = sub(row, 9, 16)
  if s.live then
    if s.digest ~= sub(row, 17, 32) then
      if not replace then return 'V' end
      -- A record that comes without its order does not move the id.
      local kept = order == NONE and s.order ~= NONE and sub(row, 1, 8) .. s.order .. sub(row, 17)
      remove(id, s, '\1', NONE)
      insert(i, id, s, kept or nil)
      return 'P'
    elseif order == NONE or order == s.order then
      return 'U'
    elseif s.order == NONE then
      set_order(id, s, order)
      return 'O'
    end
    conflicts[1][#conflicts[1] + 1] = s.order
    return 'C'
  elseif s.tombstoned then
    local passes = revive or s.added
    if not passes or sub(s.member, 41, 41) == '\3' or not above(order, sub(s.member, 43, 50)) then
      return 'T'
    end
  end
  insert(i, id, s)
  return 'I'
end

each(upsert_id, upserts, function(i, id, row, tombstone)
  local outcome
  if overlay[id] or tombstone then
    outcome = upsert(i, id, state_of(id, row, tombstone))
  elseif not row then
    insert(i, id)
    outcome = 'I'
  elseif sub(row, 25, 40) == sub(ARGV[upsert_row + i], 17, 32) and not order_at[id] then
    -- The same as in upsert, for a row that is only stored.
    local order, of = sub(ARGV[upsert_row + i], 9, 16), sub(row, 17, 24)
    if order == NONE or order == of then
      outcome = 'U'
    elseif of == NONE then
      set_stored_order(id, order)
      outcome = 'O'
    else
      conflicts[1][#conflicts[1] + 1] = of
      outcome = 'C'
    end
  else
    outcome = upsert(i, id, state_of(id, row, tombstone))
  end
  outcomes[3][i] = outcome
end)

each(backfill_id, backfills, function(i, id, row, tombstone)
  local s, of = overlay[id] and state_of(id, row, tombstone), NONE
  local order, outcome = ARGV[backfill_order + i], 'N'
  if s and s.live or not s and row then
    if s then
      of = s.order
    elseif order_at[id] then
      of = order_of[order_at[id]]
    else
      of = sub(row, 17, 24)
    end
    if of == NONE then
      if s then set_order(id, s, order) else set_stored_order(id, order) end
      outcome = 'O'
    elseif of == order then
      outcome = 'U'
    else
      conflicts[2][#conflicts[2] + 1] = of
      outcome = 'C'
    end
  elseif s and s.tombstoned or not s and tombstone then
    outcome = 'T'
  end
  outcomes[4][i] = outcome
end)

-- State: what each key holds in the end, where that is not what it held, or where it went to and fro.
local state, state_keys = {}, {}
for from = 1, changes, CHUNK do
  local count = math.min(CHUNK, changes - from + 1)
  local values = fresh and NOTHING or look_up(STATE, change_key, from, count)
  for k = 1, count do
    local key, value = ARGV[change_key + from + k - 1], ARGV[change_value + from + k - 1]
    local held = state[key] or (values[k] and '=' .. values[k] or '-')
    if value ~= held then
      if not state[key] then state_keys[#state_keys + 1] = key end
      state[key], changed = value, true
    end
  end
end

if exhausted then return {'exhausted'} end
if total < 0 or ordered < 0 then
  return redis.error_reply('CORRUPT a counter is lower than what it counts')
end

local answer = {'ok', changed and 1 or 0, decimal(first), decimal(head)}
for list = 1, 4 do answer[4 + list] = concat(outcomes[list]) end
answer[9], answer[10] = concat(conflicts[1]), concat(conflicts[2])
if not changed then return answer end
if unlisted then return {'register'} end

-- A key of another type is not ours, and would be an error in the middle of the writes.
for _, key in ipairs({ROWS, BLOBS, TOMBSTONE_OF, STATE}) do call('HLEN', key) end
for _, key in ipairs({TIME, SEQ, ORDER, OBJECT, TOMBSTONES, NAMES}) do call('ZCARD', key) end

-- The first command that may be refused where memory is full, or the user lacks a right, has to be
-- refused before anything changes; so each is tried once on nothing. A reset frees memory, and begins
-- with one that is never refused.
if reset then call('HDEL', META, '') end
call('ZADD', TIME, 'XX', '0', '')
call('HDEL', META, '')
call('ZREM', TIME, '')
if reset and exists then
  call('HSET', META, 'epoch', exists)
  call('UNLINK', unpack(KEYS, 2, 11))
end

-- From here on everything is written.
local another = fresh or moved
call('HSET', META, 'epoch', another and epoch or exists, 'server', server, 'head', decimal(head),
  'floor', exists and meta[4] or '0', 'total', decimal(total), 'ordered', decimal(ordered),
  'tombstones', decimal(tombstones))

local function write(command, key, values, count)
  for from = 1, count, 2 * CHUNK do
    call(command, key, unpack(values, from, math.min(from + 2 * CHUNK - 1, count)))
  end
end

-- A member of the object index.
local function object_member(object, seq, id)
  return struct.pack('>I2', #object) .. object .. seq .. id
end

for from = 1, removals, CHUNK do
  local to = math.min(from + CHUNK - 1, removals)
  local time, seq, order, object, large = {}, {}, {}, {}, {}
  for n = from, to do
    local id, row = removed_id[n], removed_row[n]
    local object_bytes, payload_bytes = struct.unpack('>I2I4', sub(row, 41, HEAD))
    time[#time + 1] = sub(row, 9, 16) .. id
    seq[#seq + 1] = sub(row, 1, 8) .. id
    if sub(row, 17, 24) ~= NONE then order[#order + 1] = sub(row, 17, 24) .. id end
    if object_bytes > 0 then
      local bytes = sub(row, HEAD + 1, HEAD + object_bytes)
      object[#object + 1] = object_member(bytes, sub(row, 1, 8), id)
    end
    if #row < HEAD + object_bytes + payload_bytes then large[#large + 1] = id end
  end
  call('HDEL', ROWS, unpack(removed_id, from, to))
  call('ZREM', TIME, unpack(time))
  call('ZREM', SEQ, unpack(seq))
  if #order > 0 then call('ZREM', ORDER, unpack(order)) end
  if #object > 0 then call('ZREM', OBJECT, unpack(object)) end
  if #large > 0 then call('HDEL', BLOBS, unpack(large)) end
end

local large = {}
for n = 1, blobs do large[tonumber(ARGV[blob_upsert + n])] = ARGV[blob_payload + n] end

for from = 1, inserts, CHUNK do
  local to = math.min(from + CHUNK - 1, inserts)
  local rows, time, seqs, in_order, of_object, payloads = {}, {}, {}, {}, {}, {}
  local r, o, b, p = 0, 0, 0, 0
  for n = from, to do
    local i, row, seq = insert_of[n], insert_row[n], insert_seq[n]
    if i then
      local id = ARGV[upsert_id + i]
      rows[r + 1], rows[r + 2] = id, seq .. (row or ARGV[upsert_row + i])
      time[r + 1], time[r + 2] = '0', ARGV[upsert_time + i]
      seqs[r + 1], seqs[r + 2] = '0', seq .. id
      r = r + 2
      local order = row and sub(row, 9, 16) ~= NONE and sub(row, 9, 16) .. id
        or not row and ARGV[upsert_order + i] or ''
      if order ~= '' then
        in_order[o + 1], in_order[o + 2] = '0', order
        o = o + 2
      end
      if objects and ARGV[upsert_object + i] ~= '' then
        of_object[b + 1], of_object[b + 2] = '0', ARGV[upsert_object + i] .. seq .. id
        b = b + 2
      end
      if large[i] then
        payloads[p + 1], payloads[p + 2] = id, large[i]
        p = p + 2
      end
    end
  end
  write('HSET', ROWS, rows, r)
  write('ZADD', TIME, time, r)
  write('ZADD', SEQ, seqs, r)
  write('ZADD', ORDER, in_order, o)
  write('ZADD', OBJECT, of_object, b)
  write('HSET', BLOBS, payloads, p)
end

-- Rows that get their order are read again instead of kept: large pages of them fit in memory.
for from = 1, orders, CHUNK do
  local ids, of, rows, members, n = {}, {}, {}, {}, 0
  for k = from, math.min(from + CHUNK - 1, orders) do
    if order_id[k] then ids[#ids + 1], of[#of + 1] = order_id[k], order_of[k] end
  end
  local found = #ids > 0 and call('HMGET', ROWS, unpack(ids)) or NOTHING
  for k = 1, #ids do
    rows[n + 1], rows[n + 2] = ids[k], sub(found[k], 1, 16) .. of[k] .. sub(found[k], 25)
    members[n + 1], members[n + 2] = '0', of[k] .. ids[k]
    n = n + 2
  end
  write('HSET', ROWS, rows, n)
  write('ZADD', ORDER, members, n)
end

-- Tombstones: those that change lose their old member. TOMBSTONE_OF has the newest one of each id
-- without a row, unless it was lifted.
for from = 1, rewrites, CHUNK do
  call('ZREM', TOMBSTONES, unpack(rewritten, from, math.min(from + CHUNK - 1, rewrites)))
end
local function add_members(members, count)
  for from = 1, count, CHUNK do
    local values, n = {}, 0
    for k = from, math.min(from + CHUNK - 1, count) do
      values[n + 1], values[n + 2] = '0', members[k]
      n = n + 2
    end
    write('ZADD', TOMBSTONES, values, n)
  end
end
add_members(rewrite, rewrites)
add_members(added, adds)
for from = 1, adds, CHUNK do
  local newest, n = {}, 0
  for k = from, math.min(from + CHUNK - 1, adds) do
    local id = sub(added[k], 9, 40)
    if overlay[id] == -k then
      newest[n + 1], newest[n + 2] = id, added[k]
      n = n + 2
    end
  end
  write('HSET', TOMBSTONE_OF, newest, n)
end
for from = 1, rechecks, CHUNK do
  local newest, cleared, n = {}, {}, 0
  for k = from, math.min(from + CHUNK - 1, rechecks) do
    local id = rechecked[k]
    local s = overlay[id]
    if s.tombstoned then
      newest[n + 1], newest[n + 2] = id, s.member
      n = n + 2
    else
      cleared[#cleared + 1] = id
    end
  end
  write('HSET', TOMBSTONE_OF, newest, n)
  if #cleared > 0 then call('HDEL', TOMBSTONE_OF, unpack(cleared)) end
end

local set, named, unset, n = {}, {}, {}, 0
for _, key in ipairs(state_keys) do
  local value = state[key]
  if value == '-' then
    unset[#unset + 1] = key
  else
    set[n + 1], set[n + 2] = key, sub(value, 2)
    named[n + 1], named[n + 2] = '0', key
    n = n + 2
  end
end
write('HSET', STATE, set, n)
write('ZADD', NAMES, named, n)
if #unset > 0 then
  call('HDEL', STATE, unpack(unset))
  call('ZREM', NAMES, unpack(unset))
end

-- A hint, on which nothing depends: a user without the right to send it does without.
if another or head >= first then pcall_('PUBLISH', channel, '') end
return answer
