-- ARGV: is a retry, what to do, name or '' for all, version, record. Modules by name and version.
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
elseif name ~= '' then
    return call('HVALS', key)
end
local found = {}
for _, one in ipairs(call('SMEMBERS', P .. 'modules')) do
    for _, record in ipairs(call('HVALS', P .. 'module:' .. one)) do found[#found + 1] = record end
end
return found
