-- Renew the lease of an incarnation with what the node says of itself.
-- KEYS[1] hash of the node
-- ARGV[1] its epoch, ARGV[2] lease in ms, ARGV[3] record, ARGV[4] ms to keep the hash without a renewal
-- Returns {status, epoch that holds the lease}. Status 1: renewed. 2: the hash was lost and is written again. 3: another
-- process of this server id came later. 4: the lease had ended; nothing is written.
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = tonumber(ARGV[1])
local held = redis.call('HMGET', KEYS[1], 'epoch', 'endMs')
local heldEpoch = tonumber(held[1] or '0')
if heldEpoch > epoch then return { 3, heldEpoch } end
if heldEpoch == epoch and tonumber(held[2]) <= nowMs then return { 4, heldEpoch } end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'endMs', string.format('%.0f', nowMs + tonumber(ARGV[2])), 'record', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
-- A lower epoch is data of the past (a replica that lagged): ours is the later one.
if heldEpoch == epoch then return { 1, epoch } end
return { 2, epoch }
