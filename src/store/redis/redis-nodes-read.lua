-- What one node says of itself. The lease is judged here, by the clock that wrote it.
-- KEYS[1] hash of the node. Returns {epoch, record}, or nothing where its lease has ended.
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'epoch', 'endMs', 'record')
if not held[1] or tonumber(held[2]) <= nowMs then return nil end
return { held[1], held[3] }
