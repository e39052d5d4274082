-- Returns {queue, ready, scheduled, in flight, ...} for every queue that has any message.

local flying, counted = {}, {}
for _, consumer in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  for _, tag in ipairs(call('HKEYS', INFLIGHT .. consumer)) do
    local list = sub(tag, -5)
    counted[list] = (counted[list] or 0) + 1
  end
end
for list, count in pairs(counted) do
  local queue = origin(list)
  flying[queue] = (flying[queue] or 0) + count
end
local reply = {}
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do
  local waiting = 0
  for at = 1, #STEPS, 2 do
    waiting = waiting + call('LLEN', ready(queue, sub(STEPS, at, at + 1)))
  end
  local later = call('ZCARD', SCHEDULED .. queue)
  if waiting + later + (flying[queue] or 0) > 0 then
    reply[#reply + 1] = { queue, waiting, later, flying[queue] or 0 }
  end
end
return reply
