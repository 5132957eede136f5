-- Live rows and tombstones by seq. ARGV: the seq to read after as a bound, rows, bytes, 1 to read
-- payloads. Answers the space, then 'L', member, row, payload or 'T', member, '', '' for each entry.
local limit, left, payloads = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local next_live = walk(SEQ, ARGV[1], '+', limit, true)
local next_tombstone = walk(TOMBSTONES, ARGV[1], '+', limit)
local live, live_row = next_live()
local tombstone = next_tombstone()
local entries, rows = {}, 0
while live or tombstone do
  local is_live = live and not (tombstone and num(sub(tombstone, 1, 8)) < num(sub(live, 1, 8)))
  local member, row, payload, size = tombstone, '', '', nil
  if is_live then
    member, row = live, live_row
    if not row then
      return redis.error_reply('CORRUPT an index holds an id that has no row')
    end
    local object_bytes, payload_bytes = lengths(row)
    size = object_bytes + (payloads and payload_bytes or 0)
  else
    size = #tombstone - 58
  end
  left = left - size
  if rows == limit or (rows > 0 and left < 0) then return {'ok', meta, entries, 1} end
  if is_live then
    if payloads then
      payload = blob(sub(live, 9), row)
    else
      row = sub(row, 1, HEAD + size)
    end
    live, live_row = next_live()
  else
    tombstone = next_tombstone()
  end
  rows = rows + 1
  local at = 4 * rows
  entries[at - 3], entries[at - 2] = is_live and 'L' or 'T', member
  entries[at - 1], entries[at] = row, payload
end
return {'ok', meta, entries, 0}
