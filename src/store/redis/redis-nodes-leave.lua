-- End the lease of an incarnation at once, if it still holds it. The epoch stays, so that the next one lies above it.
-- KEYS[1] hash of the node; ARGV[1] its epoch
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'endMs', '0')
return 1
