-- Put a counter where the one of a version stands; version 0: where there is none. KEYS[1] the counter's hash.
-- ARGV: version, nextId, endId, note; incarnation and version of a counter that is made here. Returns the new version as text, or 0
-- where another version stands.
local standing = redis.call('HGET', KEYS[1], 'version')
if (standing or '0') ~= ARGV[1] then
  return 0
end
if not standing then
  redis.call('HSET', KEYS[1], 'incarnation', ARGV[5], 'version', ARGV[6])
else
  redis.call('HINCRBY', KEYS[1], 'version', 1)
end
redis.call('HSET', KEYS[1], 'nextId', ARGV[2], 'endId', ARGV[3], 'note', ARGV[4])
return redis.call('HGET', KEYS[1], 'version')
