-- Make ready what is due, in every queue: also in those that only Celery's workers read. Forget revocations that are over.
-- Returns how many messages that were, 500 of a queue at most.

local time, count = now(), 0
call('ZREMRANGEBYSCORE', REVOKED, '-inf', time)
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do count = count + promote(queue, time) end
return count
