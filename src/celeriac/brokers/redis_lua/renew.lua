-- Extend the leases of those who have one.
-- ARGV: seconds, consumers...
-- Returns the consumers that have none.

local deadline = string.format('%.6f', tonumber(now()) + tonumber(ARGV[1]))
local lost = {}
for i = 2, #ARGV do
  if call('HEXISTS', SEQS, ARGV[i]) == 1 then
    call('ZADD', LEASES, deadline, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
