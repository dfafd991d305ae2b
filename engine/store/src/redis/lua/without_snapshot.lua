-- ARGV: is a retry, format, id of the deployment before or '', maximum. Newest first.
local before, found = '+inf', {}
if ARGV[3] ~= '' then
    local number = call('HGET', deployment_key(ARGV[3]), 'number')
    -- Nothing is older than a deployment that does not exist.
    if not number then return found end
    before = '(' .. number
end
for _, list in ipairs(call('SMEMBERS', P .. 'formats')) do
    if list ~= ARGV[2] then
        local some = call('ZREVRANGEBYSCORE', P .. 'snapped:' .. list, before, '-inf',
            'WITHSCORES', 'LIMIT', 0, ARGV[4])
        for i = 1, #some, 2 do found[#found + 1] = { some[i], tonumber(some[i + 1]) } end
    end
end
table.sort(found, function(one, other) return one[2] > other[2] end)
local ids = {}
for i = 1, math.min(#found, tonumber(ARGV[4])) do ids[i] = found[i][1] end
return ids
