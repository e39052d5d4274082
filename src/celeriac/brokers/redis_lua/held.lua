-- Say what a consumer holds, and close the door behind its earlier claims.
-- ARGV: consumer, number of the claim, longest message to hand out whole
-- Returns -1 if the consumer has no lease, else see `held` in common.lua.

local consumer = ARGV[1]
local seen = call('HGET', SEQS, consumer)
if not seen then return -1 end
if tonumber(ARGV[2]) > tonumber(seen) then call('HSET', SEQS, consumer, ARGV[2]) end
return held(consumer, tonumber(ARGV[3]))
