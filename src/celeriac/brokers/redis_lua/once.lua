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
  local queue, step, due, payload = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  if call('ZADD', ONCE, 'NX', till, ARGV[at]) == 1 then
    if due == '' then
      call('LPUSH', ready(queue, step), payload)
    else
      schedule(queue, step, due, payload)
    end
  end
end
