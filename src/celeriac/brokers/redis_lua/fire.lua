-- Publish what entries of schedules are due for, if they have fired as far as expected.
-- ARGV: for each: entry, slot, expected slot or '', '' or milliseconds for which an office is to be held, the office and who
-- is to hold it, how many publications; of each: queue, step, due or '', payload
-- Returns the entries that were accepted.

local accepted, at = {}, 0

local function arg()
  at = at + 1
  return ARGV[at]
end

-- Whether an office could be taken, or none has to be.
local function hold(office, holder, milliseconds)
  if milliseconds == '' then return true end
  local known = call('GET', OFFICES .. office)
  if known and known ~= holder then return false end
  call('SET', OFFICES .. office, holder, 'PX', milliseconds)
  return true
end

-- Returns whether an entry is accepted, and whether it publishes.
local function advance(entry, slot, expected, more, office, holder, milliseconds)
  local known = call('HGET', ENTRIES, entry)
  local last, count, moment = '', 0, '0'
  if known then last, count, moment = string.match(known, '^(%S+) (%d+) (%S+)$') end
  if last ~= expected then return false, false end
  local publishes = more > 0 and hold(office, holder, milliseconds)
  if publishes then count, moment = count + more, now() end
  call('HSET', ENTRIES, entry, slot .. ' ' .. count .. ' ' .. moment)
  return true, publishes
end

while at < #ARGV do
  local entry, slot, expected, milliseconds = arg(), arg(), arg(), arg()
  local office, holder = '', ''
  if milliseconds ~= '' then office, holder = arg(), arg() end
  local count = tonumber(arg())
  local ours, publishes = advance(entry, slot, expected, count, office, holder, milliseconds)
  if ours then accepted[#accepted + 1] = entry end
  for _ = 1, count do
    if publishes then send(at + 1) end
    at = at + 4
  end
end
return accepted
