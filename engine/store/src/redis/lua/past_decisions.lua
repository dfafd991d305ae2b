-- ARGV: is a retry, module, environment, number before, position before, maximum. Of each success
-- number, id and position of its first event; then of each retirement '', position and row.
local here = place(ARGV[2], ARGV[3])
local found = {}
local successes = call('ZREVRANGEBYSCORE', P .. 'succeeded:' .. here, ARGV[4], '-inf',
    'LIMIT', 0, ARGV[6])
for _, id in ipairs(successes) do
    local one = call('HMGET', deployment_key(id), 'number', 'first')
    found[#found + 1] = one[1]
    found[#found + 1] = id
    found[#found + 1] = one[2]
end
local retirements = call('ZREVRANGEBYSCORE', P .. 'retirements:' .. here, ARGV[5], '-inf',
    'LIMIT', 0, ARGV[6])
for _, position in ipairs(retirements) do
    found[#found + 1] = ''
    found[#found + 1] = position
    found[#found + 1] = call('HGET', P .. 'environment_events', position) or ''
end
return found
