-- Publish messages, all or none.
-- ARGV: groups, each: queue, step (two digits), due or '', how many, payloads...
-- Returns nothing.

local at = 1
while at < #ARGV do
  local queue, step, due, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  if due == '' then
    push(ready(queue, step), ARGV, at, at + count - 1)
  else
    for i = at, at + count - 1 do schedule(queue, step, due, ARGV[i]) end
  end
  at = at + count
end
