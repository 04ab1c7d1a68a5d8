#!lua flags=allow-oom
-- Take over entries that were read and never finished. The group is made where it is missing.
-- KEYS: stream, lease. ARGV: fence, group, consumer, from_id, max_count, careful_count.
-- Entries read `careful_count` times before come alone: the one that kills its reader must not drag others along.
-- Returns 0 where fenced, else {is_new, has_more, last_read_id, entries, {id, attempts, ...}}.
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return 0 end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[2], '0', 'MKSTREAM')
local is_new = 0
if not made.err then
  is_new = 1
elseif string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then
  return made
end
local last_read_id = '0-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local facts = {}
  for at = 1, #group, 2 do facts[group[at]] = group[at + 1] end
  if facts['name'] == ARGV[2] then last_read_id = facts['last-delivered-id'] end
end
local first = redis.call('XPENDING', KEYS[1], ARGV[2], ARGV[4], '+', 1)[1]
if not first then return {is_new, 0, last_read_id, {}, {}} end
local max_count = first[4] >= tonumber(ARGV[6]) and 1 or ARGV[5]
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[2], ARGV[3], 0, first[1], 'COUNT', max_count)
local has_more = claimed[1] == '0-0' and 0 or 1
local entries = claimed[2]
local attempts = {}
if #entries > 0 then
  for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[2], entries[1][1], entries[#entries][1], #entries)) do
    attempts[#attempts + 1] = row[1]
    attempts[#attempts + 1] = row[4]
  end
end
return {is_new, has_more, last_read_id, entries, attempts}
