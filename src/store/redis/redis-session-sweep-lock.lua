-- One sweeper at a time: take the lock, or keep it.
-- KEYS[1] lock; ARGV[1] token of the sweeper, ARGV[2] ms it holds; 0 gives it back. Returns 1 where it is this sweeper's.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
