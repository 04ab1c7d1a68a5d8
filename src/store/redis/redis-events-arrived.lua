-- A user has a first device on a node: a fresh mark, 'new <token>' or 'more <token>'.
-- KEYS[1] mark, ARGV[1] token of this arrival
-- Returns 1 where no node knew a device of this user, also where the caller asks again because an answer was lost.
local mark = redis.call('GET', KEYS[1])
if mark == 'new ' .. ARGV[1] then return 1 end
if mark == 'more ' .. ARGV[1] then return 0 end
if not mark or string.sub(mark, 1, 4) == 'off ' then
  redis.call('SET', KEYS[1], 'new ' .. ARGV[1])
  return 1
end
redis.call('SET', KEYS[1], 'more ' .. ARGV[1])
return 0
