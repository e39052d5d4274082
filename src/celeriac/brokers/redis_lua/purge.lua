-- Drop the ready and scheduled messages of queues.
-- ARGV: queues...
-- Returns how many.

local count = 0
for _, queue in ipairs(ARGV) do
  for at = 1, #STEPS, 2 do
    local key = ready(queue, sub(STEPS, at, at + 1))
    count = count + call('LLEN', key)
    call('UNLINK', key)
  end
  count = count + call('ZCARD', SCHEDULED .. queue)
  call('UNLINK', SCHEDULED .. queue)
end
return count
