-- Returns {consumer, queues...} for each whose lease has not run out and that reads any.

local reply = {}
for _, consumer in ipairs(call('ZRANGEBYSCORE', LEASES, now(), '+inf')) do
  local reads = call('HGET', READS, consumer)
  if reads then
    local row, at = { consumer }, 1
    while at <= #reads do
      local space = string.find(reads, ' ', at, true)
      local last = space + tonumber(sub(reads, at, space - 1))
      row[#row + 1] = sub(reads, space + 1, last)
      at = last + 1
    end
    reply[#reply + 1] = row
  end
end
return reply
