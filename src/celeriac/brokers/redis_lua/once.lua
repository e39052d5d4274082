-- Publish messages that were not published before under the same key.
-- ARGV: seconds for which keys are remembered, how many keys to forget, these; then for each message: key, queue, step,
-- due or '', payload
-- Returns nothing.

local time = tonumber(now())
local till = string.format('%.6f', time + tonumber(ARGV[1]))
local last = 2 + tonumber(ARGV[2])
for i = 3, last do call('ZREM', ONCE, ARGV[i]) end
call('ZREMRANGEBYSCORE', ONCE, '-inf', string.format('%.6f', time))
for at = last + 1, #ARGV, 5 do
  if call('ZADD', ONCE, 'NX', till, ARGV[at]) == 1 then send(at + 1) end
end
