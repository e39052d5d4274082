-- ARGV: queues...
-- Returns the seconds until the first scheduled message of any of them is due, as text; '' if there is none.

local first
for _, queue in ipairs(ARGV) do
  local entry = call('ZRANGE', SCHEDULED .. queue, 0, 0, 'WITHSCORES')
  local due = tonumber(entry[2])
  if due and (not first or due < first) then first = due end
end
return first and string.format('%.6f', first - tonumber(now())) or ''
