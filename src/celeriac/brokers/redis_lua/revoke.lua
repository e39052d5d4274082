-- Note that tasks are not to be started.
-- ARGV: seconds, task ids...
-- Returns nothing.

local till = string.format('%.6f', tonumber(now()) + tonumber(ARGV[1]))
for i = 2, #ARGV do call('ZADD', REVOKED, till, ARGV[i]) end
