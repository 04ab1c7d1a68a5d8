#!lua flags=allow-oom
-- Make the inbox of a node incarnation and keep it alive. KEYS: the inbox. ARGV: marker, ttl_s.
-- The marker is a consumer group that nobody reads with: it is there as long as the data is, whoever adds entries later.
-- Returns {is_new, id of the newest entry ever}.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return made end
redis.call('EXPIRE', KEYS[1], ARGV[2])
local facts = redis.call('XINFO', 'STREAM', KEYS[1])
local last_entry_id = '0-0'
for at = 1, #facts, 2 do
  if facts[at] == 'last-generated-id' then last_entry_id = facts[at + 1] end
end
return {made.err and 0 or 1, last_entry_id}
