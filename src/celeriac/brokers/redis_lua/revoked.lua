-- Say which tasks are revoked.
-- ARGV: task ids
-- Returns those.

local reply, time = {}, tonumber(now())
for _, id in ipairs(ARGV) do
  local till = call('ZSCORE', REVOKED, id)
  if till and tonumber(till) > time then reply[#reply + 1] = id end
end
return reply
