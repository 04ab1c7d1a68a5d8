-- Note a device of a user; on Cluster, where session and user live in different slots.
-- KEYS[1] hash of the user
-- ARGV[1] device key, ARGV[2] the session packed, ARGV[3] its owner, ARGV[4] since in ms, ARGV[5] owner to override ('' none)
-- Returns nothing; or, where a connection that began later stands there and nothing is written, that one packed.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local session = cjson.decode(held)
  local owner = table.concat({ session[1], session[2], session[3], session[4] }, '/')
  if owner ~= ARGV[3] and owner ~= ARGV[5] and tonumber(session[7]) > tonumber(ARGV[4]) then return held end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return nil
