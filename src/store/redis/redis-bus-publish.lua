-- Publish messages in their order. ARGV: channel, message, channel, message ... Returns the number of subscribers of each.
-- Without a first line of flags: a script with one is refused as a whole where Redis takes no writes (out of memory, a full disk,
-- too few replicas), and PUBLISH is not.
-- Only for a server that holds every channel: on Redis Cluster it would keep what belongs to other masters' slots to itself.
local counts = {}
for at = 1, #ARGV, 2 do
  counts[#counts + 1] = redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
end
return counts
