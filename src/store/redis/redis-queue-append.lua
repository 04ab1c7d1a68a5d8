#!lua
-- Keep durable pushes at the end of a shard, unless it is full or the producer's id was seen.
-- KEYS: the shard's stream, then one key per idempotency id.
-- ARGV: max_count, once_window_ms; then per push: index of its key in KEYS or 0, id, to, op, speed, by, body.
-- Returns per push 0 full, 1 kept, 2 seen before. Without allow-oom: Redis at its memory limit refuses the whole call.
local max_count = tonumber(ARGV[1])
local once_window_ms = ARGV[2]
local count = redis.call('XLEN', KEYS[1])
local outcomes = {}
for at = 3, #ARGV, 7 do
  local once = tonumber(ARGV[at])
  local outcome = 0
  if once > 0 and redis.call('EXISTS', KEYS[once]) == 1 then
    outcome = 2
  elseif count < max_count then
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[at + 1], 'to', ARGV[at + 2], 'op', ARGV[at + 3],
      'speed', ARGV[at + 4], 'by', ARGV[at + 5], 'body', ARGV[at + 6])
    if once > 0 then redis.call('SET', KEYS[once], '1', 'PX', once_window_ms) end
    count = count + 1
    outcome = 1
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
