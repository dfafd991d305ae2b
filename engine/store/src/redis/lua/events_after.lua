-- ARGV: is a retry, first position, maximum of events. Of each: deployment, number, row. The
-- first element is '' at the end of the log, else the position from which to read on.
local found, from, left = { '' }, ARGV[2], tonumber(ARGV[3])
local first = tonumber(ARGV[2])
-- A bound, because nothing else runs meanwhile.
for _ = 1, 32 do
    local entries = call('XRANGE', P .. 'log', from .. '-0', '+', 'COUNT', 128)
    for _, entry in ipairs(entries) do
        local id = entry[1]
        local last = tonumber(string.match(id, '^%d+'))
        from = text(last + 1)
        local fields = entry[2]
        if fields[1] == 'd' then
            local seq, count = tonumber(fields[4]), tonumber(fields[6])
            -- The append may have begun before the first position.
            local skip = math.max(0, first - (last - count + 1))
            local take = math.min(count - skip, left)
            local rows = call('LRANGE', events_key(fields[2]), seq + skip, seq + skip + take - 1)
            for i, row in ipairs(rows) do
                found[#found + 1] = fields[2]
                found[#found + 1] = seq + skip + i - 1
                found[#found + 1] = row
            end
            left = left - #rows
            if left <= 0 then
                found[1] = text(last - count + 1 + skip + take)
                return found
            end
        end
    end
    if #entries < 128 then return found end
end
found[1] = from
return found
