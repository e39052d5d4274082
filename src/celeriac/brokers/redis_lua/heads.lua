-- Returns {queue, message} for the right end, where consumers take, of every list that has any.

local reply = {}
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do
  for at = 1, #STEPS, 2 do
    local payload = call('LINDEX', ready(queue, sub(STEPS, at, at + 1)), -1)
    if payload then reply[#reply + 1] = { queue, payload } end
  end
end
return reply
