-- Tell of one batch of changes of who is online on a node.
-- KEYS[1] hash: epoch, seq (of the newest batch), conn, ip
-- KEYS[2] hash: room -> members on the node
-- KEYS[3] stream: a batch per entry, id <nodeEpoch>-<seq>, fields f flags, c connections, i addresses, then room and members
-- ARGV nodeEpoch, seq, flags, connCount, ipCount, ttlMs, maxEntries, room, count, room, count ...
--
-- Flags: r: what was told before is void, all of it follows; c: now all of it has been told; k: nothing changed, are you still
-- up to date? A batch may come twice (its answer was lost): the second time it changes nothing.
--
-- Returns OK, LOST (Redis does not have the batch before this one: tell all again) or SUPERSEDED (a later incarnation is here)
local nodeEpoch, seq, flags = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local ttlMs, maxEntries = ARGV[6], ARGV[7]
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local storedEpoch, storedSeq = tonumber(stored[1]), tonumber(stored[2])
if storedEpoch and storedEpoch > nodeEpoch then return 'SUPERSEDED' end
local isRepeat = storedEpoch == nodeEpoch and storedSeq == seq
if not isRepeat then
  if string.find(flags, 'r', 1, true) then
    redis.call('UNLINK', KEYS[2], KEYS[3])
  elseif flags == 'k' or storedEpoch ~= nodeEpoch or storedSeq ~= seq - 1 then
    return 'LOST'
  end
  local set, gone = {}, {}
  for i = 8, #ARGV, 2 do
    if ARGV[i + 1] == '0' then
      gone[#gone + 1] = ARGV[i]
    else
      set[#set + 1] = ARGV[i]
      set[#set + 1] = ARGV[i + 1]
    end
  end
  if #set > 0 then redis.call('HSET', KEYS[2], unpack(set)) end
  if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', ARGV[2], 'conn', ARGV[4], 'ip', ARGV[5])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', maxEntries, ARGV[1] .. '-' .. ARGV[2],
    'f', flags, 'c', ARGV[4], 'i', ARGV[5], unpack(ARGV, 8))
end
-- A node that is gone for good leaves nothing behind.
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ttlMs) end
return 'OK'
