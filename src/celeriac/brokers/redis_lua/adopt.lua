-- Move all that a dead consumer holds to another, and end its lease.
-- ARGV: the dead, the heir, '1' if only an expired lease counts, longest message to hand out whole
-- Returns -1 if the heir has no lease; {} if nothing was moved; else what was, see `held` in common.lua.

local dead, heir = ARGV[1], ARGV[2]
if call('HEXISTS', SEQS, heir) == 0 then return -1 end
local deadline = call('ZSCORE', LEASES, dead)
if dead == heir or not deadline then return {} end
if ARGV[3] == '1' and tonumber(deadline) >= tonumber(now()) then return {} end
call('ZREM', LEASES, dead)
call('HDEL', SEQS, dead)
call('HDEL', READS, dead)
local moved = held(dead, tonumber(ARGV[4]))
if call('EXISTS', INFLIGHT .. heir) == 0 then
  if #moved > 1 then call('RENAME', INFLIGHT .. dead, INFLIGHT .. heir) end
else
  local flat = call('HGETALL', INFLIGHT .. dead)
  for first = 1, #flat, MOST do
    call('HSET', INFLIGHT .. heir, unpack(flat, first, math.min(first + MOST - 1, #flat)))
  end
  call('DEL', INFLIGHT .. dead)
end
return moved
