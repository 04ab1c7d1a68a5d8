-- Which of the commands, keys and channels that Halley uses may this user not use? Nothing is carried out.
-- ARGV: per probe the number of its words, then the words.
-- Returns the probes that are refused, each as one text.
local missing = {}
local index = 1
while index <= #ARGV do
  local wordCount = tonumber(ARGV[index])
  local words = {}
  for offset = 1, wordCount do words[offset] = ARGV[index + offset] end
  if not redis.acl_check_cmd(unpack(words)) then missing[#missing + 1] = words[1] .. ' ' .. (words[2] or '') end
  index = index + wordCount + 1
end
return missing
