-- Number one message of a room, keep it and publish it, in one step.
--
-- KEYS[1] seq      hash: e (epoch), o (offset of the newest), f (ms of the oldest kept, or older),
--                  i<n> (id of the message in slot n of the last ones), m<id> (its offset)
-- KEYS[2] log      stream: <offset>-<ms> -> m: message id, operation, body as they are on the channel
-- KEYS[3] writer   string, only for a message of the push channel: who may append those
-- KEYS[4] pushed   stream: <ms>-<n> -> h: hash of a command of the push channel that was appended
-- ARGV[1] message (8 bytes id, i32 operation, body)  ARGV[2] maxMessages  ARGV[3] maxAgeMs  ARGV[4] seqTtlMs
-- ARGV[5] logTtlMs  ARGV[6] PUBLISH or SPUBLISH, a blank, the channel of the room; empty publishes nothing. The channel is none
-- of KEYS: no key of its name exists, and a master of a Redis Cluster refuses a script (TRYAGAIN) as long as its slot is on its way
-- where some of its keys exist and others do not. With KEYS[3] also
-- ARGV[7] writer  ARGV[8] hash of the command  ARGV[9] pushedWindowMs  ARGV[10] writerTtlMs
-- Returns {epoch, offset, 1 when the message was there already}; with KEYS[3] and another writer {0, 0, 2}, else also the
-- message's entry in KEYS[4] as the fourth.
local LAST_IDS = 32
if KEYS[3] and redis.call('GET', KEYS[3]) ~= ARGV[7] then return { 0, 0, 2 } end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local id = string.sub(ARGV[1], 1, 8)
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'f', 'm' .. id)
local epoch = tonumber(state[1])
local offset = tonumber(state[2])
if not epoch or not offset then
  -- Microseconds: a room whose record was lost gets an epoch it never had. What a lost record left behind is another life's.
  epoch = tonumber(time[1]) * 1000000 + tonumber(time[2])
  offset = 0
  redis.call('DEL', KEYS[1], KEYS[2])
  state = { false, false, false, false }
elseif state[4] then
  return { epoch, tonumber(state[4]), 1 }
end
offset = offset + 1
local slot = 'i' .. (offset % LAST_IDS)
local forgotten = redis.call('HGET', KEYS[1], slot)
if forgotten then redis.call('HDEL', KEYS[1], 'm' .. forgotten) end
local oldest_ms = tonumber(state[3]) or now_ms
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], offset .. '-' .. now_ms, 'm', ARGV[1])
local cut_ms = now_ms - tonumber(ARGV[3])
if oldest_ms < cut_ms then
  -- Each message is looked at once for its age: f moves on to the oldest that is left.
  oldest_ms = now_ms
  local first = false
  repeat
    local entries = redis.call('XRANGE', KEYS[2], first and ('(' .. first) or '-', '+', 'COUNT', 16)
    local is_over = #entries < 16
    for _, entry in ipairs(entries) do
      local entry_ms = tonumber(string.match(entry[1], '-(%d+)$'))
      if entry_ms >= cut_ms then
        oldest_ms = entry_ms
        redis.call('XTRIM', KEYS[2], 'MINID', entry[1])
        is_over = true
        break
      end
      first = entry[1]
    end
  until is_over
end
redis.call('HSET', KEYS[1], 'e', string.format('%.0f', epoch), 'o', string.format('%.0f', offset), 'f',
  string.format('%.0f', oldest_ms), slot, id, 'm' .. id, string.format('%.0f', offset))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local entry = ''
if KEYS[3] then
  local from_ms = string.format('%.0f', now_ms - tonumber(ARGV[9]))
  entry = redis.call('XADD', KEYS[4], 'MINID', '~', from_ms, '*', 'h', ARGV[8])
  redis.call('PEXPIRE', KEYS[4], ARGV[9])
  redis.call('PEXPIRE', KEYS[3], ARGV[10])
end
if ARGV[6] ~= '' then
  local word = 4294967296
  local place = struct.pack('>BI4I4I4I4', 193, math.floor(epoch / word), epoch % word,
    math.floor(offset / word), offset % word)
  local command, channel = string.match(ARGV[6], '^(%S+) (.*)$')
  redis.call(command, channel, place .. ARGV[1])
end
if KEYS[3] then return { epoch, offset, 0, entry } end
return { epoch, offset, 0 }
