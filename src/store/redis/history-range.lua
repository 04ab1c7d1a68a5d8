-- Kept messages of a room from an offset on.
--
-- KEYS[1] seq  KEYS[2] log (see history-append.lua)
-- ARGV[1] epoch  ARGV[2] fromOffset  ARGV[3] maxMessages  ARGV[4] maxBytes  ARGV[5] maxAgeMs
-- Returns {epoch, offset, first kept offset, {message, ...}}: no messages where the room or the range is another;
-- epoch 0: the room has no record.
local state = redis.call('HMGET', KEYS[1], 'e', 'o')
local epoch = tonumber(state[1])
local offset = tonumber(state[2])
if not epoch or not offset then return { 0, 0, 1, {} } end
local time = redis.call('TIME')
local cut_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[5])
local from = tonumber(ARGV[2])
local max_messages = tonumber(ARGV[3])
local max_bytes = tonumber(ARGV[4])
-- The oldest that is not too old: appends trim, and there may have been none for long.
local first = offset + 1
local after = false
repeat
  local entries = redis.call('XRANGE', KEYS[2], after and ('(' .. after) or '-', '+', 'COUNT', 1)
  local entry = entries[1]
  if entry then
    local entry_offset, entry_ms = string.match(entry[1], '^(%d+)-(%d+)$')
    after = entry[1]
    if tonumber(entry_ms) >= cut_ms then
      first = tonumber(entry_offset)
      entry = nil
    else
      redis.call('XDEL', KEYS[2], after)
    end
  end
until not entry
if tonumber(ARGV[1]) ~= epoch or from < first or from > offset + 1 then return { epoch, offset, first, {} } end
local messages = {}
local bytes = 0
local next_offset = from
while #messages < max_messages and next_offset <= offset do
  local entries = redis.call('XRANGE', KEYS[2], next_offset, '+', 'COUNT', math.min(16, max_messages - #messages))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    -- A hole (the stream lost what the counter counts): nothing behind it may be passed off as contiguous.
    if tonumber(string.match(entry[1], '^(%d+)-')) ~= next_offset then
      if #messages == 0 then return { epoch, offset, tonumber(string.match(entry[1], '^(%d+)-')), {} } end
      return { epoch, offset, first, messages }
    end
    bytes = bytes + string.len(entry[2][2])
    if bytes > max_bytes and #messages > 0 then return { epoch, offset, first, messages } end
    messages[#messages + 1] = entry[2][2]
    next_offset = next_offset + 1
  end
end
-- The stream ends in front of what the counter counts.
if #messages == 0 and from <= offset then first = offset + 1 end
return { epoch, offset, first, messages }
