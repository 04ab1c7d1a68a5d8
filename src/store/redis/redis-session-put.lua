-- Give a device key to a connection.
-- KEYS[1] hash of the session; KEYS[2] hash of the user, or KEYS[1] again where it is written by a script of its own (Cluster)
--   or there is no user
-- ARGV[1] owner to override whatever it holds ('' none): an incarnation that is gone, as the caller knows
-- ARGV[2] mid, ARGV[3] server id, ARGV[4] node epoch, ARGV[5] bucket, ARGV[6] connection id, ARGV[7] platform,
-- ARGV[8] remote address, ARGV[9] since, wall clock of Redis in ms as the node knows it, ARGV[10] device key,
-- ARGV[11] the session packed, ARGV[12] by how many ms the clocks of two nodes may differ: within it who comes later began later
-- Returns {status, fields of the session that had the key...}. Status 1: stored. 2: the key is another user's, nothing is
-- written. 3: a connection that began later has the key, nothing is written.
local FIELDS = { 'mid', 'node', 'epoch', 'bucket', 'conn', 'platform', 'ip', 'since' }
local held = redis.call('HMGET', KEYS[1], unpack(FIELDS))
local status = 1
local since = ARGV[9]
local packed = ARGV[11]
if held[1] then
  local owner = table.concat({ held[2], held[3], held[4], held[5] }, '/')
  local isOwn = owner == table.concat({ ARGV[3], ARGV[4], ARGV[5], ARGV[6] }, '/')
  local heldSince = tonumber(held[8])
  if owner ~= ARGV[1] then
    if held[1] ~= ARGV[2] then
      status = 2
    elseif not isOwn and heldSince > tonumber(ARGV[9]) + tonumber(ARGV[12]) then
      status = 3
    end
  end
  -- What came later by less than the clocks' error, in the same millisecond too, stands behind what it replaced, now and when it is
  -- written again: on Cluster the entries of the user are ordered by nothing else.
  local isTie = heldSince == tonumber(since) and tonumber(ARGV[12]) > 0 and not isOwn
  if status == 1 and owner ~= ARGV[1] and (heldSince > tonumber(since) or isTie) then
    since = string.format('%.0f', isOwn and heldSince or heldSince + 1)
    local fields = cjson.decode(packed)
    fields[7] = since
    packed = cjson.encode(fields)
  end
end
if status == 1 then
  redis.call('HSET', KEYS[1], 'mid', ARGV[2], 'node', ARGV[3], 'epoch', ARGV[4], 'bucket', ARGV[5], 'conn', ARGV[6],
    'platform', ARGV[7], 'ip', ARGV[8], 'since', since)
  if KEYS[2] ~= KEYS[1] then redis.call('HSET', KEYS[2], ARGV[10], packed) end
end
if not held[1] then return { status } end
return { status, unpack(held) }
