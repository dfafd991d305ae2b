-- ARGV: is a retry, what to do, name, revision; to put: the revision that it replaces or '', record.
-- Changes the strategy of a name where it is the one that the engine has read.
local key, what, name, revision = P .. 'strategies', ARGV[2], ARGV[3], ARGV[4]
local stored, found = call('HGET', key, name), ''
if stored then
    -- One that cannot be read gives way.
    local readable, record = pcall(cjson.decode, stored)
    if readable and type(record) == 'table' and record.digest then
        found = record.digest .. (record.builtIn and ' built in' or '')
    end
end
if what == 'put' then
    if found ~= ARGV[5] and found ~= revision then return { 'changed' } end
    call('HSET', key, name, ARGV[6])
    return { 'put' }
end
if found == revision then
    call('HDEL', key, name)
    return { 'removed' }
end
-- The first attempt has removed it.
return { found == '' and ARGV[1] == '1' and 'removed' or 'changed' }
