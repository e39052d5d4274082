-- End a lease; what the consumer still holds becomes ready again, in the order that it was in.
-- ARGV: consumer
-- Returns how many messages that were.

local flight = INFLIGHT .. ARGV[1]
call('ZREM', LEASES, ARGV[1])
call('HDEL', SEQS, ARGV[1])
call('HDEL', READS, ARGV[1])
local tags = call('HKEYS', flight)
table.sort(tags, earlier)
for i = #tags, 1, -1 do
  call('RPUSH', ready(origin(tags[i])), call('HGET', flight, tags[i]))
end
call('DEL', flight)
return #tags
