-- Take a message from what a dead Celery worker left unacknowledged, if it is still there as it was read.
-- ARGV: keys of the hash and of the index, tag, the hash's value as read, then either
--   'ready', message, lists...: to the consuming end of each list; or
--   'dead', queue, reason, message: to the dead letters.
-- Returns 1 if it was there.

local hash, index, tag = ARGV[1], ARGV[2], ARGV[3]
if call('HGET', hash, tag) ~= ARGV[4] then return 0 end
call('ZREM', index, tag)
call('HDEL', hash, tag)
if ARGV[5] == 'ready' then
  for i = 7, #ARGV do call('RPUSH', ARGV[i], ARGV[6]) end
else
  bury(string.format('%d', call('INCR', TAGS)), ARGV[6], ARGV[7], ARGV[8])
end
return 1
