-- The index of server ids: note one, or forget it, and list all. Whether a listed node lives, its own hash tells.
-- KEYS[1] sorted set of server ids by the end of their lease in ms
-- ARGV[1] server id, ARGV[2] its lease in ms; 0 forgets it, -1 leaves it as it is
-- Returns {now in ms, server id, ...}
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local leaseMs = tonumber(ARGV[2])
if leaseMs > 0 then redis.call('ZADD', KEYS[1], nowMs + leaseMs, ARGV[1]) end
if leaseMs == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', nowMs)
local reply = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(reply, 1, string.format('%.0f', nowMs))
return reply
