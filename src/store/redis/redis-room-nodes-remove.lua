#!lua flags=allow-oom
-- Forget node incarnations of a room. KEYS: the room's nodes. ARGV: server_id, node_epoch, ...
-- A later incarnation of the same server stays. Returns how many were removed.
local removed_count = 0
for at = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[at])
  if value and string.match(value, '^%d+') == ARGV[at + 1] then
    removed_count = removed_count + redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return removed_count
