#!lua
-- Publish messages in their order. ARGV: channel, message, channel, message ... Returns the number of subscribers of each.
-- Only for a server that holds every channel: on Redis Cluster it would keep what belongs to other masters' slots to itself.
local counts = {}
for at = 1, #ARGV, 2 do
  counts[#counts + 1] = redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
end
return counts
