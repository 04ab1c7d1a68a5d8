-- Forget a device of a user, if it still is this connection's.
-- KEYS[1] hash of the user; ARGV[1] device key, ARGV[2] owner
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return 0 end
local session = cjson.decode(held)
if table.concat({ session[1], session[2], session[3], session[4] }, '/') ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
