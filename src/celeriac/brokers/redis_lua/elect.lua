-- Give an office to a candidate, unless another holds it.
-- ARGV: office, candidate, seconds
-- Returns who holds it.

local key = OFFICES .. ARGV[1]
local holder = call('GET', key)
if holder and holder ~= ARGV[2] then return holder end
call('SET', key, ARGV[2], 'PX', math.ceil(tonumber(ARGV[3]) * 1000))
return ARGV[2]
