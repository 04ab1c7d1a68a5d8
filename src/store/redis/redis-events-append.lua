-- Append one batch of upstream events to the stream, once: a batch that is sent again because its answer was lost adds nothing.
-- KEYS[1] stream, KEYS[2] string: number of the writer's last batch
-- ARGV[1] max_events (about), ARGV[2] batch_no, ARGV[3] remember_ms, then per event: id, type, json
-- Returns the number of events added; 0 for a repeat.
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if tonumber(ARGV[2]) <= last then return 0 end
for i = 4, #ARGV, 3 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'id', ARGV[i], 'type', ARGV[i + 1], 'event', ARGV[i + 2])
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return (#ARGV - 3) / 3
