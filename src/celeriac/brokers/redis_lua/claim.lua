-- Hand out messages.
-- ARGV: consumer, number of the claim, how many at most, longest message to hand out whole, most bytes in all, queues...
-- Returns -1 if the consumer has no lease; {} if the number is old or nothing is ready; else
-- {number before the first tag, {place of the queue, digits of the list, how many, ...}, {messages...}, {place of a message
-- that was cut, its size, ...}}.

local consumer, left, longest, room = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not call('ZSCORE', LEASES, consumer) then return -1 end
local seen = call('HGET', SEQS, consumer)
if seen and tonumber(ARGV[2]) <= tonumber(seen) then return {} end
call('HSET', SEQS, consumer, ARGV[2])

local time = now()
for place = 6, #ARGV do promote(ARGV[place], time) end

local runs, messages, total = {}, {}, 0

-- Take what fits of `popped`; push the rest back to the end that it came from.
local function take(popped, key)
  for i, payload in ipairs(popped) do
    local size = math.min(#payload, longest)
    if size > room and total > 0 then
      for back = #popped, i, -1 do call('RPUSH', key, popped[back]) end
      left = 0
      return i - 1
    end
    room = room - size
    total = total + 1
    messages[total] = payload
  end
  left = left - #popped
  return #popped
end

for at = 1, #STEPS, 2 do
  local step = sub(STEPS, at, at + 1)
  for place = 6, #ARGV do
    if left < 1 then break end
    local key = ready(ARGV[place], step)
    local popped = call('RPOP', key, left)
    if popped then
      local count = take(popped, key)
      if count > 0 then
        runs[#runs + 1] = place - 6
        runs[#runs + 1] = digits(step .. ARGV[place])
        runs[#runs + 1] = count
      end
    end
  end
end
if total == 0 then return {} end

local before = call('INCRBY', TAGS, total) - total
local flight, cuts, number = INFLIGHT .. consumer, {}, 0
for run = 1, #runs, 3 do
  local list, fields, filled = runs[run + 1], {}, 0
  for i = 1, runs[run + 2] do
    number = number + 1
    local payload = messages[number]
    fields[filled + 1] = (before + number) .. list
    fields[filled + 2] = payload
    filled = filled + 2
    if filled == MOST or i == runs[run + 2] then
      call('HSET', flight, unpack(fields, 1, filled))
      filled = 0
    end
    if #payload > longest then
      messages[number] = sub(payload, 1, math.min(4096, longest))
      cuts[#cuts + 1] = number - 1
      cuts[#cuts + 1] = #payload
    end
  end
end
return { before, runs, messages, cuts }
