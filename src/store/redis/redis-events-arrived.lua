-- A user has a first device on a node: a fresh mark, 'on <token of the first arrival> <token of the last>'.
-- KEYS[1] mark, ARGV[1] token of this arrival
-- Returns 1 where no node knew a device of this user, also where the caller asks again because an answer was lost.
local mark = redis.call('GET', KEYS[1]) or ''
local first, last = string.match(mark, '^on (%S+) (%S+)$')
if first == ARGV[1] then return 1 end
if last == ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'on ' .. (first or ARGV[1]) .. ' ' .. ARGV[1])
if first then return 0 end
return 1
