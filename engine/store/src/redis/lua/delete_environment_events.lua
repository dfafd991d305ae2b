-- ARGV: is a retry, date, position after which to look. Deletes of the next 1,000 events those from
-- before the date that decide nothing. The last position, '' at the end, and how many were deleted.
local positions = call('ZRANGEBYSCORE', P .. 'positions', '(' .. ARGV[3], '+inf', 'LIMIT', 0, 1000)
local deleted, highest = 0, 0
for _, position in ipairs(positions) do
    local row = call('HGET', P .. 'environment_events', position)
    local at, environment = string.match(row, '^(%d+) (%S+)\n')
    if tonumber(at) < tonumber(ARGV[2]) and call('SISMEMBER', P .. 'deciding', position) == 0 then
        call('HDEL', P .. 'environment_events', position)
        call('ZREM', P .. 'positions', position)
        call('ZREM', P .. 'positions:' .. environment, position)
        call('XDEL', P .. 'log', position .. '-0')
        deleted = deleted + 1
        highest = math.max(highest, tonumber(position))
    end
end
if highest > tonumber(call('HGET', META, 'deleted')) then
    call('HSET', META, 'deleted', text(highest))
end
return { #positions == 1000 and positions[1000] or '', deleted }
