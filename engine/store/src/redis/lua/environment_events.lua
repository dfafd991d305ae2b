-- ARGV: is a retry, 'after' or 'before', environment or '' for all, position, maximum. Of each:
-- position, row.
local key = P .. 'positions' .. (ARGV[3] == '' and '' or ':' .. ARGV[3])
local positions
if ARGV[2] == 'after' then
    positions = call('ZRANGEBYSCORE', key, '(' .. ARGV[4], '+inf', 'LIMIT', 0, ARGV[5])
else
    positions = call('ZREVRANGEBYSCORE', key, '(' .. ARGV[4], '-inf', 'LIMIT', 0, ARGV[5])
end
local found = {}
for _, position in ipairs(positions) do
    found[#found + 1] = position
    found[#found + 1] = call('HGET', P .. 'environment_events', position)
end
return found
