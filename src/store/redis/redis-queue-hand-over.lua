#!lua flags=allow-oom
-- Put messages into inboxes and finish entries of a shard: all or nothing.
-- KEYS: stream and lease of the shard where owns_queue is 1, then the inboxes.
-- ARGV: owns_queue, fence, group, inbox_ttl_s, done_count, done ids; message_count, then per message id, op, speed, body;
-- then per inbox: delivery_count, then per delivery: number of its message, to, part.
-- Returns 0 where fenced, else the length of each inbox. allow-oom: it moves what is there already.
local owns_queue = ARGV[1] == '1'
if owns_queue and redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] then return 0 end
local done_from = 6
local message_from = done_from + tonumber(ARGV[5]) + 1
local at = message_from + 4 * tonumber(ARGV[message_from - 1])
local lengths = {}
for key_at = owns_queue and 3 or 1, #KEYS do
  local inbox = KEYS[key_at]
  local delivery_count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, delivery_count do
    local message = message_from + 4 * (tonumber(ARGV[at]) - 1)
    redis.call('XADD', inbox, '*', 'id', ARGV[message], 'to', ARGV[at + 1], 'op', ARGV[message + 1],
      'speed', ARGV[message + 2], 'part', ARGV[at + 2], 'body', ARGV[message + 3])
    at = at + 3
  end
  if delivery_count > 0 then redis.call('EXPIRE', inbox, ARGV[4]) end
  lengths[#lengths + 1] = redis.call('XLEN', inbox)
end
for done_at = done_from, message_from - 2 do
  redis.call('XACK', KEYS[1], ARGV[3], ARGV[done_at])
  redis.call('XDEL', KEYS[1], ARGV[done_at])
end
return lengths
