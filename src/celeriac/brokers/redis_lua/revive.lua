-- Publish messages in place of dead letters.
-- ARGV: for each: key of the dead letter, queue, step (two digits), due or '', message
-- Returns how many of them were dead letters.

local count = 0
for at = 1, #ARGV, 5 do
  local key, queue, step, due, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  if call('HDEL', LETTERS, key) == 1 then
    call('ZREM', DEAD, key)
    if due == '' then
      call('LPUSH', ready(queue, step), payload)
    else
      schedule(queue, step, due, payload)
    end
    count = count + 1
  end
end
return count
