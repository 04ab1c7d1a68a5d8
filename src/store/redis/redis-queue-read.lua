#!lua flags=allow-oom
-- Read new entries of a shard, if the caller still owns it: without the fence a thawed owner would take entries away.
-- KEYS: stream, lease. ARGV: fence, group, consumer, max_count. Returns 0 where fenced, else the entries.
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return 0 end
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], '>')
return reply and reply[1][2] or {}
