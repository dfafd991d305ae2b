-- ARGV: is a retry, what to read, then what that needs. Reads the whole state for an export.
local what = ARGV[2]
if what == 'standstill' then
    -- A session. The names of the other living engines, behind a word that changes with the store.
    local sessions = living_sessions()
    local meta = call('HMGET', META, 'epoch', 'position', 'fence', 'number', 'deleted', 'begun')
    for i = 1, 6 do meta[i] = meta[i] or '' end
    local found = { table.concat(meta, ' ') }
    for _, session in ipairs(sessions) do
        if session ~= ARGV[3] then
            found[#found + 1] = call('HGET', P .. 'engines', session) or session
        end
    end
    return found
elseif what == 'counts' then
    return call('HMGET', META, 'position', 'deleted', 'fence')
elseif what == 'deployments' then
    -- A number, a maximum.
    local ids = call('ZRANGEBYSCORE', P .. 'i', '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])
    local found = {}
    for i, id in ipairs(ids) do
        local one = call('HMGET', deployment_key(id), 'number', 'module', 'environment', 'fence',
            'lifecycle', 'created', 'request', 'selector', 'waits', 'seq')
        found[#found + 1] = id
        for field = 1, 10 do found[#found + 1] = one[field] end
    end
    return found
elseif what == 'events' then
    -- A position, a maximum. Of each: position, row, whether it decides, the module that it retires.
    local positions = call('ZRANGEBYSCORE', P .. 'positions', '(' .. ARGV[3], '+inf',
        'LIMIT', 0, ARGV[4])
    local found = {}
    for _, position in ipairs(positions) do
        local row = call('HGET', P .. 'environment_events', position)
        local environment = string.match(row, '^%d+ (%S+)\n')
        local retired = ''
        for _, module in ipairs(call('HKEYS', P .. 'retired:' .. environment)) do
            if call('ZSCORE', P .. 'retirements:' .. place(module, environment), position) then
                retired = module
            end
        end
        found[#found + 1] = position
        found[#found + 1] = row
        found[#found + 1] = call('SISMEMBER', P .. 'deciding', position)
        found[#found + 1] = retired
    end
    return found
elseif what == 'retirements' then
    local found = {}
    for _, environment in ipairs(call('SMEMBERS', P .. 'retiring')) do
        local flat = call('HGETALL', P .. 'retired:' .. environment)
        for i = 1, #flat, 2 do
            local number, at = string.match(flat[i + 1], '^(%d+) (%d+)$')
            found[#found + 1] = environment
            found[#found + 1] = flat[i]
            found[#found + 1] = number
            found[#found + 1] = at
        end
    end
    return found
elseif what == 'hash' then
    return call('HGETALL', P .. ARGV[3])
elseif what == 'fence' then
    return call('HGET', P .. 'environment:' .. ARGV[3], 'fence') or '0'
end
return redis.error_reply('ERR unknown part of the store')
