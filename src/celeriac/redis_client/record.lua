-- Put before scripts that store records.

-- When a record kept for `seconds` from now ends, in unix milliseconds as text; '' stays ''. (SET with EX would be
-- rewritten by the server to SET with PXAT for its log, which takes longer than to store it.)
local function until_when(seconds)
  if seconds == '' then return '' end
  return string.format('%d', (redis.call('TIME')[1] + seconds) * 1000)
end

-- Store the JSON of a record until `ending` ('' for ever) and tell who waits for it. A stored SUCCESS is never
-- overwritten by another state; it is known by its first bytes, in Celery's JSON as in ours.
local function keep_record(key, json, success, ending)
  if success ~= '1' then
    local stored = redis.call('GETRANGE', key, 0, 20)
    if string.find(stored, '^{"status": ?"SUCCESS"') then return end
  end
  if ending == '' then
    redis.call('SET', key, json)
  else
    redis.call('SET', key, json, 'PXAT', ending)
  end
  redis.call('PUBLISH', key, json)
end
