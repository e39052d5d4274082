-- Give a consumer a lease.
-- ARGV: consumer, seconds
-- Returns nothing.

call('ZADD', LEASES, string.format('%.6f', tonumber(now()) + tonumber(ARGV[2])), ARGV[1])
call('HSET', SEQS, ARGV[1], -1)
