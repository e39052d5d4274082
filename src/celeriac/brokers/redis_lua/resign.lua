-- Leave an office.
-- ARGV: office, candidate
-- Returns nothing.

local key = OFFICES .. ARGV[1]
if call('GET', key) == ARGV[2] then call('DEL', key) end
