-- ARGV: is a retry, field, ids.
local found = {}
for i = 3, #ARGV do
    found[i - 2] = call('HMGET', snapshot_key(ARGV[i]), 'format', 'next', ARGV[2])
end
return found
