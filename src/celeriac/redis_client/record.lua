-- Put before scripts that store records.

-- Store the JSON of a record for `seconds` ('' for ever) and tell who waits for it. A stored SUCCESS is never overwritten by
-- another state; it is known by its first bytes, in Celery's JSON as in ours.
local function keep_record(key, json, success, seconds)
  if success ~= '1' then
    local stored = redis.call('GETRANGE', key, 0, 20)
    if string.find(stored, '^{"status": ?"SUCCESS"') then return end
  end
  if seconds == '' then
    redis.call('SET', key, json)
  else
    redis.call('SET', key, json, 'EX', seconds)
  end
  redis.call('PUBLISH', key, json)
end
