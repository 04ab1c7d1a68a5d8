-- Put a counter where the one of a version stands; version 0: where there is none. KEYS[1] the counter's hash.
-- ARGV: version, nextId, endId, note, incarnation of a counter that is made here. Returns 1, or 0 where another version stands.
local standing = redis.call('HGET', KEYS[1], 'version')
if (standing or '0') ~= ARGV[1] then
  return 0
end
if not standing then
  redis.call('HSET', KEYS[1], 'incarnation', ARGV[5])
end
redis.call('HSET', KEYS[1], 'nextId', ARGV[2], 'endId', ARGV[3], 'note', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
