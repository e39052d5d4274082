-- What the scripts of the broker share; each gets what it uses (celeriac.redis_client.scripts.load), and of these names:
--
-- LEASES     sorted set: consumer -> end of its lease, seconds of the server's clock
-- SEQS       hash: consumer -> number of its last claim, -1 before the first; has whoever LEASES has
-- READS      hash: consumer -> the queues that it reads, each as length .. ' ' .. queue; has whoever reads any
-- INFLIGHT   .. consumer, hash: tag -> message
-- TAGS       counter; a tag is a number of it followed by the five digits of the message's list
-- LISTS      hash: list -> its five digits, and '#' .. digits -> list; a list is two digits of priority, then the queue
-- SCHEDULED  .. queue, sorted set: 14 digits of TAGS .. 2 of priority .. message -> due, unix seconds
-- NUDGE      .. queue, never kept: touched to wake who waits when a queue's first due time has changed
-- QUEUES     set of the queues that we know of
-- DEAD       sorted set: key of a dead letter -> number of DEATHS, a counter
-- LETTERS    hash: key of a dead letter -> lengths of queue and reason, time, queue, reason, message
-- REVOKED    sorted set: task id -> until when, seconds of the server's clock
-- COMMANDS   stream: field c: what workers are told
-- ENTRIES    hash: entry of a schedule -> its last slot, how much was published, when last; with spaces between
-- ONCE       sorted set: key of what is to be published once -> until when it is remembered, seconds of the server's clock
-- OFFICES    .. office, string that expires: who holds it
-- PREFIX, SEP, STEPS: kombu's global prefix and separator, two digits for each priority step

local call = redis.call

local sub = string.sub

-- Lua's stack bounds how many arguments `unpack` can make.
local MOST = 2000

local function now()
  local time = call('TIME')
  return time[1] .. '.' .. string.format('%06d', time[2])
end

-- kombu's name for the list of `step` (two digits) of `queue`.
local function ready(queue, step)
  if step == '00' then return PREFIX .. queue end
  return PREFIX .. queue .. SEP .. tonumber(step)
end

-- The five digits of a list, given out when it is first claimed from.
local function digits(list)
  local known = call('HGET', LISTS, list)
  if known then return known end
  local count = call('HLEN', LISTS) / 2 + 1
  if count > 99999 then error('more than 99,999 lists were claimed from') end
  local given = string.format('%05d', count)
  call('HSET', LISTS, list, given, '#' .. given, list)
  call('SADD', QUEUES, sub(list, 3))
  return given
end

-- Queue and step of the message with this tag.
local function origin(tag)
  local list = call('HGET', LISTS, '#' .. sub(tag, -5))
  if not list then error('the list of a message in flight is unknown; was the database emptied?') end
  return sub(list, 3), sub(list, 1, 2)
end

-- Whether tag `a` was given out before tag `b`: numbers of any length.
local function earlier(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function nudge(queue)
  call('SET', NUDGE .. queue, '')
  call('DEL', NUDGE .. queue)
end

local function schedule(queue, step, due, payload)
  local member = string.format('%014d', call('INCR', TAGS)) .. step .. payload
  call('ZADD', SCHEDULED .. queue, due, member)
  if call('ZRANK', SCHEDULED .. queue, member) == 0 then nudge(queue) end
end

-- Publish one message, whose queue, step, due or '' and payload are the four arguments from ARGV[at] on.
local function send(at)
  local queue, step, due, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if due == '' then
    call('LPUSH', ready(queue, step), payload)
  else
    schedule(queue, step, due, payload)
  end
end

-- Push list[from..to] to the left end of `key`, where producers push.
local function push(key, list, from, to)
  for first = from, to, MOST do
    call('LPUSH', key, unpack(list, first, math.min(first + MOST - 1, to)))
  end
end

-- Make at most 500 messages of `queue` ready that are due at `time`; return how many.
local function promote(queue, time)
  local due = call('ZRANGEBYSCORE', SCHEDULED .. queue, '-inf', time, 'LIMIT', 0, 500)
  if not due[1] then return 0 end
  call('ZREMRANGEBYRANK', SCHEDULED .. queue, 0, #due - 1)
  local batches = {}
  for _, member in ipairs(due) do
    local step = sub(member, 15, 16)
    local batch = batches[step]
    if not batch then
      batch = {}
      batches[step] = batch
    end
    batch[#batch + 1] = sub(member, 17)
  end
  for step, batch in pairs(batches) do push(ready(queue, step), batch, 1, #batch) end
  return #due
end

local function bury(key, queue, reason, payload)
  call('ZADD', DEAD, call('INCR', DEATHS), key)
  call('HSET', LETTERS, key, #queue .. ' ' .. #reason .. ' ' .. now() .. ' ' .. queue .. reason .. payload)
end

-- What a consumer holds, for a reply: { 1 if some tasks are revoked, else 0, tag, size, message or its beginning, queue,
-- ... }.
local function held(consumer, longest)
  local flat = call('HGETALL', INFLIGHT .. consumer)
  local reply = { call('EXISTS', REVOKED) }
  for i = 1, #flat, 2 do
    local payload = flat[i + 1]
    reply[#reply + 1] = flat[i]
    reply[#reply + 1] = #payload
    reply[#reply + 1] = #payload > longest and sub(payload, 1, 4096) or payload
    reply[#reply + 1] = (origin(flat[i]))
  end
  return reply
end
