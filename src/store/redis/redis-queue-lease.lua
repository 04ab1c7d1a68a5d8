#!lua flags=allow-oom
-- Take, renew or release the lease of a shard. KEYS: lease, stream. ARGV: action, server_id, fence, lease_ms; for a release
-- also group and the ids of entries that were read and not finished: they may start to count their readings again.
-- The hash stays for ever, so fences only grow; after a loss of all data they go on from the clock.
-- Returns the fence under which the caller owns the shard, '0' where it does not.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('HMGET', KEYS[1], 'owner', 'until_ms', 'fence')
local action, server_id, fence, lease_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if action == 'take' then
  if lease[1] and lease[1] ~= server_id and tonumber(lease[2]) > now_ms then return '0' end
  fence = string.format('%.0f', math.max(now_ms, tonumber(lease[3] or '0') + 1))
  redis.call('HSET', KEYS[1], 'owner', server_id, 'fence', fence, 'until_ms', string.format('%.0f', now_ms + lease_ms))
  return fence
end
if lease[3] ~= fence then return '0' end
local until_ms = action == 'renew' and now_ms + lease_ms or 0
for at = 6, #ARGV do
  redis.call('XCLAIM', KEYS[2], ARGV[5], server_id, 0, ARGV[at], 'RETRYCOUNT', 0, 'JUSTID')
end
redis.call('HSET', KEYS[1], 'until_ms', string.format('%.0f', until_ms))
return fence
