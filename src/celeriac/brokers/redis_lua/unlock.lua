-- Give a lock back, if it is still ours.
-- ARGV: its key, our token
-- Returns 1 if it was.

if call('GET', ARGV[1]) ~= ARGV[2] then return 0 end
return call('DEL', ARGV[1])
