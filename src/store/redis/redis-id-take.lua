-- Take numbers from a counter. KEYS[1] the counter's hash. ARGV[1] how many (count).
-- Returns {firstId, endId, note, incarnation}, or nil where there is no counter. Numbers stay below 2^53: exact in Lua.
local record = redis.call('HMGET', KEYS[1], 'nextId', 'endId', 'note', 'incarnation')
if not record[1] then
  return nil
end
local firstId = tonumber(record[1])
local endId = math.min(firstId + tonumber(ARGV[1]), tonumber(record[2]))
-- Lua prints 15 digits and more with an exponent unless told.
local endText = string.format('%.0f', endId)
redis.call('HSET', KEYS[1], 'nextId', endText)
redis.call('HINCRBY', KEYS[1], 'version', 1)
return { record[1], endText, record[3], record[4] }
