-- Extend the lease of blocks of machine ids, or end it.
-- KEYS[1] hash, see redis-machine-ids-take.lua
-- ARGV serverId, nodeEpoch, token, leaseMs, maxSkewMs, firstBlock, widthBlocks, heldEndMs, lastLimitMs
--
-- heldEndMs: end of the lease as its holder knows it. Redis that came back empty learns of a lease again only while it runs:
-- nobody else can have the block yet (a young Redis gives away none). After that a stranger may have had it meanwhile.
-- lastLimitMs: '' to extend; otherwise the holder is done and none of its ids reaches this: the block is free at once.
--
-- Returns {'OK', nowMs, endMs} or {'LOST', nowMs, serverId} or {'SUPERSEDED', nowMs, serverId}
local serverId, nodeEpoch, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local leaseMs, maxSkewMs = tonumber(ARGV[4]), tonumber(ARGV[5])
local firstBlock, widthBlocks = tonumber(ARGV[6]), tonumber(ARGV[7])
local heldEndMs, lastLimitMs = tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)

local floors, promisedMs = {}, 0
for block = firstBlock, firstBlock + widthBlocks - 1 do
  local text = redis.call('HGET', KEYS[1], tostring(block))
  if text then
    local limitMs, floorMs, epoch, itsToken, server = string.match(text, '^%d+ (%d+) (%d+) (%d+) (%S+) (.*)$')
    epoch = tonumber(epoch)
    if server ~= serverId then return { 'LOST', nowMs, server } end
    if epoch > nodeEpoch then return { 'SUPERSEDED', nowMs, server } end
    if epoch ~= nodeEpoch or itsToken ~= token then return { 'LOST', nowMs, server } end
    floors[block] = tonumber(floorMs)
    promisedMs = math.max(promisedMs, tonumber(limitMs))
  else
    if nowMs >= heldEndMs then return { 'LOST', nowMs, '' } end
    floors[block] = 0
  end
end

redis.call('HSETNX', KEYS[1], 'bornMs', string.format('%d', nowMs))
local endMs = lastLimitMs and nowMs or nowMs + leaseMs
-- A promise is never taken back, also where Redis's clock was set back: ids below it may exist.
local limitMs = lastLimitMs or math.max(endMs - maxSkewMs, promisedMs)
for block = firstBlock, firstBlock + widthBlocks - 1 do
  redis.call('HSET', KEYS[1], tostring(block),
    string.format('%d %d %d %d %s %s', endMs, limitMs, floors[block], nodeEpoch, token, serverId))
end
return { 'OK', nowMs, endMs }
