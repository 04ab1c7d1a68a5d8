-- Take the lease of a server id as a new incarnation, whoever holds it: the later epoch wins at once.
-- KEYS[1] hash of the node
-- ARGV[1] epoch that the new one must lie above, ARGV[2] lease in ms, ARGV[3] record, ARGV[4] ms to keep the hash without a renewal
-- Returns {epoch}
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
local epoch = math.max(held, tonumber(ARGV[1])) + 1
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch),
  'endMs', string.format('%.0f', nowMs + tonumber(ARGV[2])), 'record', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { epoch }
