-- End deliveries that are only done, and store their records: the short way for what a consumer is known to hold.
-- ARGV: consumer, seconds that records are kept ('' for ever), how many successes, then for each success its tag, its
-- record's key and JSON; then the same of the others, key and JSON '' where there is no record
-- Returns whether they were held; if not, nothing is stored.

local flight, ending = INFLIGHT .. ARGV[1], until_when(ARGV[2])
local tags, count = {}, 0
for i = 4, #ARGV, 3 do
  count = count + 1
  tags[count] = ARGV[i]
end
local gone = 0
for first = 1, count, MOST do
  gone = gone + call('HDEL', flight, unpack(tags, first, math.min(first + MOST - 1, count)))
end
if gone == 0 then return 0 end

local others = 4 + 3 * ARGV[3]
for i = 4, others - 1, 3 do
  local key, json = ARGV[i + 1], ARGV[i + 2]
  if ending == '' then
    call('SET', key, json)
  else
    call('SET', key, json, 'PXAT', ending)
  end
  call('PUBLISH', key, json)
end
for i = others, #ARGV, 3 do
  if ARGV[i + 1] ~= '' then keep_record(ARGV[i + 1], ARGV[i + 2], '', ending) end
end
return 1
