-- Hand out messages.
-- ARGV: consumer, number of the claim, how many at most, longest message to hand out whole, most bytes in all, how many
-- queues, the queues..., then the lists in order of reading, each as its key, its queue's place from 0, its name in LISTS
-- Returns -1 if the consumer has no lease; {} if the number is old or nothing is ready; else
-- {{place of the queue, digits of the list, number before the first tag, how many, ...}, {messages...}, {place of a
-- message that was cut, its size, ...}, 1 if some tasks are revoked, else 0}.

local consumer, left, longest, room = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lists = 7 + ARGV[6]
local seen = call('HGET', SEQS, consumer)
if not seen then return -1 end
if tonumber(ARGV[2]) <= tonumber(seen) then return {} end
call('HSET', SEQS, consumer, ARGV[2])

local schedules = {}
for i = 7, lists - 1 do schedules[i - 6] = SCHEDULED .. ARGV[i] end
if call('EXISTS', unpack(schedules)) > 0 then
  local time = now()
  for i = 7, lists - 1 do promote(ARGV[i], time) end
end

local flight = INFLIGHT .. consumer
local runs, messages, cuts, total = {}, {}, {}, 0

-- Note the first of `popped`, as many as there is room for, as held, and push the others back to the end that they
-- came from. Returns the number before the first tag, and how many.
local function hold(popped, key, list)
  local count = #popped
  local before = call('INCRBY', TAGS, count) - count
  local fields, filled = {}, 0
  for i = 1, count do
    local payload = popped[i]
    local size = #payload
    if size > longest then
      cuts[#cuts + 1] = total
      cuts[#cuts + 1] = size
      size = longest
    end
    if size > room and total > 0 then
      if #payload > longest then cuts[#cuts], cuts[#cuts - 1] = nil, nil end
      for back = count, i, -1 do call('RPUSH', key, popped[back]) end
      left, count = 0, i - 1
      break
    end
    room = room - size
    total = total + 1
    messages[total] = #payload > longest and sub(payload, 1, math.min(longest, 4096)) or payload
    fields[filled + 1] = (before + i) .. list
    fields[filled + 2] = payload
    filled = filled + 2
    if filled == MOST then
      call('HSET', flight, unpack(fields, 1, filled))
      filled = 0
    end
  end
  if filled > 0 then call('HSET', flight, unpack(fields, 1, filled)) end
  left = left - count
  return before, count
end

for i = lists, #ARGV, 3 do
  local popped = call('RPOP', ARGV[i], left)
  if popped then
    local list = digits(ARGV[i + 2])
    local before, count = hold(popped, ARGV[i], list)
    local run = #runs
    runs[run + 1], runs[run + 2], runs[run + 3], runs[run + 4] = ARGV[i + 1], list, before, count
    if left < 1 then break end
  end
end
if total == 0 then return {} end
return { runs, messages, cuts, call('EXISTS', REVOKED) }
