-- ARGV: is a retry, hash: 'cordons', 'arrivals' or 'policies'. Of each event: position, row, field.
local fields, positions = {}, {}
for field, position in pairs(read_hash(P .. ARGV[2])) do
    positions[#positions + 1] = position
    fields[position] = field
end
table.sort(positions, function(one, other) return tonumber(one) < tonumber(other) end)
local found = {}
for _, position in ipairs(positions) do
    found[#found + 1] = position
    found[#found + 1] = call('HGET', P .. 'environment_events', position)
    found[#found + 1] = fields[position]
end
return found
