-- Read what workers were told.
-- ARGV: for how many seconds it can be read
-- Returns {key, what, ...}, oldest first.

local reply = {}
for _, entry in ipairs(call('XRANGE', COMMANDS, string.format('%d', (tonumber(now()) - ARGV[1]) * 1000), '+')) do
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = entry[2][2]
end
return reply
