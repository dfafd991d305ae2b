-- ARGV: is a retry, hash: 'cordons', 'arrivals' or 'policies'. Of each event: position, row.
local positions = call('HVALS', P .. ARGV[2])
table.sort(positions, function(one, other) return tonumber(one) < tonumber(other) end)
local found = {}
for _, position in ipairs(positions) do
    found[#found + 1] = position
    found[#found + 1] = call('HGET', P .. 'environment_events', position)
end
return found
