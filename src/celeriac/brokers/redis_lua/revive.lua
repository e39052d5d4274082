-- Publish messages in place of dead letters.
-- ARGV: for each: key of the dead letter, queue, step (two digits), due or '', message
-- Returns how many of them were dead letters.

local count = 0
for at = 1, #ARGV, 5 do
  if call('HDEL', LETTERS, ARGV[at]) == 1 then
    call('ZREM', DEAD, ARGV[at])
    send(at + 1)
    count = count + 1
  end
end
return count
