-- Give a consumer a lease.
-- ARGV: consumer, seconds, the queues that it reads...
-- Returns nothing.

call('ZADD', LEASES, string.format('%.6f', tonumber(now()) + tonumber(ARGV[2])), ARGV[1])
call('HSET', SEQS, ARGV[1], -1)
local reads = {}
for i = 3, #ARGV do reads[#reads + 1] = #ARGV[i] .. ' ' .. ARGV[i] end
if reads[1] then
  call('HSET', READS, ARGV[1], table.concat(reads))
else
  call('HDEL', READS, ARGV[1])
end
