-- Take a device key from a connection, if it still is this one's.
-- KEYS[1] hash of the session
-- ARGV[1] owner, ARGV[2] device key, ARGV[3] and ARGV[4] what stands before and behind the mid in the name of the user's hash;
--   both '' on Cluster, where a script of its own removes the device there
-- Returns the fields of what was removed, or nothing.
local held = redis.call('HMGET', KEYS[1], 'mid', 'node', 'epoch', 'bucket', 'conn', 'platform', 'ip', 'since')
if not held[1] or table.concat({ held[2], held[3], held[4], held[5] }, '/') ~= ARGV[1] then return nil end
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' and tonumber(held[1]) > 0 then redis.call('HDEL', ARGV[3] .. held[1] .. ARGV[4], ARGV[2]) end
return held
