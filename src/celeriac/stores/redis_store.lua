-- Store records, one after the other.
-- ARGV: seconds ('' for ever), then of each record its key, its JSON, and '1' if it is a success
-- Returns nothing.

local ending = until_when(ARGV[1])
for at = 2, #ARGV, 3 do keep_record(ARGV[at], ARGV[at + 1], ARGV[at + 2], ending) end
