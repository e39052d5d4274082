-- Tell all workers something.
-- ARGV: what, for how many seconds it can be read
-- Returns nothing.

call('XADD', COMMANDS, '*', 'c', ARGV[1])
call('XTRIM', COMMANDS, 'MINID', string.format('%d', (tonumber(now()) - ARGV[2]) * 1000))
call('EXPIRE', COMMANDS, math.ceil(ARGV[2]))
