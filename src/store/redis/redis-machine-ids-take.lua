-- Lease one block of 16 machine ids, or two adjacent ones.
-- KEYS[1] hash: block number -> "<endMs> <limitMs> <floorMs> <nodeEpoch> <token> <serverId>", and bornMs
-- ARGV serverId, nodeEpoch, token, leaseMs, maxSkewMs, widthBlocks (1 or 2), firstBlock (where the search begins), blockCount (even)
--
-- All times are Redis's own. endMs: end of the lease. limitMs: no id of the holder reaches it (its own clock may be off by
-- maxSkewMs). floorMs: what an earlier holder may have issued lies below it.
--
-- Returns {'OK', nowMs, block, endMs, floorMs}
--      or {'YOUNG', nowMs, waitMs}: blocks nobody is known to hold may be held all the same, Redis lost what it knew
--      or {'NONE', nowMs, holderCount}
--      or {'SUPERSEDED', nowMs, nodeEpoch}: a later incarnation of this server id was here
local serverId, nodeEpoch, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local leaseMs, maxSkewMs = tonumber(ARGV[4]), tonumber(ARGV[5])
local widthBlocks, firstBlock, blockCount = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)

local flat = redis.call('HGETALL', KEYS[1])
local fields = {}
for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
local bornMs = tonumber(fields['bornMs'])
if not bornMs then
  bornMs = nowMs
  redis.call('HSET', KEYS[1], 'bornMs', string.format('%d', bornMs))
end
-- Leases that were granted before Redis lost its data have ended by then.
local matureMs = bornMs + leaseMs

local records = {}
local holders, holderCount = {}, 0
for block = 0, blockCount - 1 do
  local text = fields[tostring(block)]
  if text then
    local endMs, limitMs, floorMs, epoch, itsToken, server = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%S+) (.*)$')
    local record = {
      endMs = tonumber(endMs), limitMs = tonumber(limitMs), floorMs = tonumber(floorMs),
      epoch = tonumber(epoch), token = itsToken, server = server,
    }
    records[block] = record
    if server == serverId and record.epoch > nodeEpoch then return { 'SUPERSEDED', nowMs, record.epoch } end
    if record.endMs > nowMs and not holders[server] then
      holders[server] = true
      holderCount = holderCount + 1
    end
  end
end

-- The lower the rank the better; nil: not to be had. Second result: floorMs.
local OWN, FREE, EXPIRED, OWN_WITH_WAIT = 1, 2, 3, 4
local isYoung = false
local function judge(block)
  local record = records[block]
  if not record then
    if nowMs < matureMs then
      isYoung = true
      return nil
    end
    return FREE, math.max(0, matureMs - maxSkewMs)
  end
  if record.server == serverId then
    -- The high-water mark of the same data directory bounds what the earlier incarnation issued.
    if record.token == token then return OWN, record.floorMs end
    if record.limitMs <= nowMs then return OWN, record.limitMs end
    return OWN_WITH_WAIT, record.limitMs
  end
  if record.endMs <= nowMs then return EXPIRED, record.limitMs end
  return nil
end

-- Best rank first; among blocks of dead holders the one that is dead for longest, so that the others find theirs again.
local best
for step = 0, blockCount - 1 do
  local block = (firstBlock + step) % blockCount
  if block % widthBlocks == 0 then
    local rank, floorMs, endMs = 0, 0, 0
    for part = block, block + widthBlocks - 1 do
      local itsRank, itsFloorMs = judge(part)
      if not itsRank then
        rank = nil
        break
      end
      rank = math.max(rank, itsRank)
      floorMs = math.max(floorMs, itsFloorMs)
      if records[part] and itsRank == EXPIRED then endMs = math.max(endMs, records[part].endMs) end
    end
    if rank and (not best or rank < best.rank or (rank == best.rank and endMs < best.endMs)) then
      best = { block = block, rank = rank, floorMs = floorMs, endMs = endMs }
    end
  end
end

if not best then
  if isYoung then return { 'YOUNG', nowMs, matureMs - nowMs } end
  return { 'NONE', nowMs, holderCount }
end
local endMs = nowMs + leaseMs
for part = best.block, best.block + widthBlocks - 1 do
  local limitMs = endMs - maxSkewMs
  -- An earlier incarnation may hold a longer promise, if leases were longer then.
  if records[part] then limitMs = math.max(limitMs, records[part].limitMs) end
  redis.call('HSET', KEYS[1], tostring(part),
    string.format('%d %d %d %d %s %s', endMs, limitMs, best.floorMs, nodeEpoch, token, serverId))
end
return { 'OK', nowMs, best.block, endMs, best.floorMs }
