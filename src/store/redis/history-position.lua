-- Where a room stands; begin its life where it has no record, or where the caller says that this epoch went back.
--
-- KEYS[1] seq  KEYS[2] log (see history-append.lua)
-- ARGV[1] seqTtlMs  ARGV[2] epoch to end, 0: none
-- Returns {epoch, offset}
local state = redis.call('HMGET', KEYS[1], 'e', 'o')
local epoch = tonumber(state[1])
local offset = tonumber(state[2])
if epoch and offset and epoch ~= tonumber(ARGV[2]) then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  return { epoch, offset }
end
local time = redis.call('TIME')
local fresh = tonumber(time[1]) * 1000000 + tonumber(time[2])
if epoch and fresh <= epoch then fresh = epoch + 1 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'e', string.format('%.0f', fresh), 'o', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { fresh, 0 }
