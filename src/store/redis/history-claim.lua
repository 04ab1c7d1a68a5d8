-- Become the one who appends what the push channel brings for a room, and see what was appended before.
--
-- KEYS[1] writer  KEYS[2] pushed (see history-append.lua)
-- ARGV[1] writer  ARGV[2] writerTtlMs  ARGV[3] from which entry on, as XRANGE has it  ARGV[4] maxCount
-- Returns entries of KEYS[2]
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('XRANGE', KEYS[2], ARGV[3], '+', 'COUNT', ARGV[4])
