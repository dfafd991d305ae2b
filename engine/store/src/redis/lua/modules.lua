-- ARGV: is a retry, what to do, name or '' for all, version, record. Modules by name and version.
-- A list has of each version: its name and version, its record.
local what, name = ARGV[2], ARGV[3]
local key = P .. 'module:' .. name
if what == 'put' then
    call('HSETNX', key, ARGV[4], ARGV[5])
    call('SADD', P .. 'modules', name)
    return call('HGET', key, ARGV[4])
elseif what == 'delete' then
    local deleted = call('HDEL', key, ARGV[4])
    if call('EXISTS', key) == 0 then call('SREM', P .. 'modules', name) end
    return { deleted == 1 and 'removed' or 'missing' }
end
local found = {}
for _, one in ipairs(name ~= '' and { name } or call('SMEMBERS', P .. 'modules')) do
    for version, record in pairs(read_hash(P .. 'module:' .. one)) do
        found[#found + 1] = one .. ' ' .. version
        found[#found + 1] = record
    end
end
return found
