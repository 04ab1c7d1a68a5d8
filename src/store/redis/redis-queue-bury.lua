#!lua flags=allow-oom
-- Move an entry of a shard to its dead letters. KEYS: stream, lease, dead letters. ARGV: fence, group, entry_id, reason, max_count.
-- Returns 0 where fenced, else 1.
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry then
  -- A foreign entry may have more fields than unpack takes.
  local fields = #entry[2] <= 1000 and entry[2] or {}
  fields[#fields + 1] = 'reason'
  fields[#fields + 1] = ARGV[4]
  fields[#fields + 1] = 'entry'
  fields[#fields + 1] = ARGV[3]
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', unpack(fields))
end
redis.call('XACK', KEYS[1], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
