-- Claim "offline" of one user: only where the mark is what the caller saw before it looked for sessions.
-- KEYS[1] mark, ARGV[1] seen ('' for none), ARGV[2] token of this claim, ARGV[3] told_ttl_ms
-- Returns 1: the caller tells it, also where it asks again because an answer was lost.
local mark = redis.call('GET', KEYS[1]) or ''
local told = 'off ' .. ARGV[2]
if mark == told then return 1 end
if mark ~= ARGV[1] or string.sub(mark, 1, 4) == 'off ' then return 0 end
redis.call('SET', KEYS[1], told, 'PX', ARGV[3])
return 1
