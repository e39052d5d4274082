-- Drop dead letters.
-- ARGV: their keys
-- Returns how many of them there were.

local count = 0
for _, key in ipairs(ARGV) do
  count = count + call('HDEL', LETTERS, key)
  call('ZREM', DEAD, key)
end
return count
