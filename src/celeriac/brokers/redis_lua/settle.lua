-- End deliveries.
-- ARGV: consumer, seconds that records are kept ('' for ever), then for each delivery: its tag and a number that says how it
-- ends and what follows: action (0 done, 1 put back, 2 schedule, 3 dead), + 4 a new payload, + 8 a record (its key, its JSON,
-- '1' if it is a success), + 16 publications (how many; of each: queue, step, due or '', payload), + 32 an office that is
-- resigned (and who holds it). Actions 2 and 3 are followed by the due time and the reason.
-- Returns the tags that were refused.

local flight = INFLIGHT .. ARGV[1]
local ending = until_when(ARGV[2])
local refused, at = {}, 2

local function arg()
  at = at + 1
  return ARGV[at]
end

local function finish(tag, action, extra, payload)
  local queue, step = origin(tag)
  if action == 1 then
    call('RPUSH', ready(queue, step), payload)
  elseif action == 2 then
    schedule(queue, step, extra, payload)
  else
    bury(tag, queue, extra, payload)
  end
end

local function settle(tag, code)
  local action = bit.band(code, 3)
  local extra = action > 1 and arg()
  local payload = bit.band(code, 4) > 0 and arg()
  if action > 0 and not payload then payload = call('HGET', flight, tag) end
  local accepted = call('HDEL', flight, tag) == 1
  if not accepted then refused[#refused + 1] = tag end
  if accepted and action > 0 then finish(tag, action, extra, payload) end
  if bit.band(code, 8) > 0 then
    local key, json, success = arg(), arg(), arg()
    if accepted then keep_record(key, json, success, ending) end
  end
  if bit.band(code, 16) > 0 then
    for _ = 1, tonumber(arg()) do
      if accepted then send(at + 1) end
      at = at + 4
    end
  end
  if bit.band(code, 32) > 0 then
    local office, holder = OFFICES .. arg(), arg()
    if accepted and call('GET', office) == holder then call('DEL', office) end
  end
end

while at < #ARGV do
  local tag = arg()
  settle(tag, tonumber(arg()))
end
return refused
