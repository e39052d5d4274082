-- Publish what entries of schedules are due for, if they have fired as far as expected.
-- ARGV: for each: entry, slot, expected slot or '', how many publications; of each: queue, step, due or '', payload
-- Returns the entries that were accepted.

local accepted, at = {}, 0

local function arg()
  at = at + 1
  return ARGV[at]
end

local function advance(entry, slot, expected, more)
  local known = call('HGET', ENTRIES, entry)
  local last, count, moment = '', 0, '0'
  if known then last, count, moment = string.match(known, '^(%S+) (%d+) (%S+)$') end
  if last ~= expected then return false end
  if more > 0 then count, moment = count + more, now() end
  call('HSET', ENTRIES, entry, slot .. ' ' .. count .. ' ' .. moment)
  return true
end

while at < #ARGV do
  local entry, slot, expected, count = arg(), arg(), arg(), tonumber(arg())
  local ours = advance(entry, slot, expected, count)
  if ours then accepted[#accepted + 1] = entry end
  for _ = 1, count do
    if ours then send(at + 1) end
    at = at + 4
  end
end
return accepted
