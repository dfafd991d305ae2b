-- ARGV: is a retry, random word of the import, what to do, then what that needs. While an import
-- is under way, the layout of the store is 'importing', which no engine opens.
local word, what = ARGV[2], ARGV[3]
local importing = call('HGET', META, 'importing')
if what == 'begin' then
    if importing == word then return { 'begun' } end
    local living = living_sessions()
    if #living > 0 then
        local found = { 'used' }
        for i, session in ipairs(living) do
            found[i + 1] = call('HGET', P .. 'engines', session) or session
        end
        return found
    end
    if not importing then
        for _, field in ipairs({ 'position', 'fence', 'number', 'deleted' }) do
            local value = call('HGET', META, field)
            if value and value ~= '0' then return { 'full' } end
        end
        for _, key in ipairs({ 'i', 'positions', 'modules', 'strategies', 'backends', 'nodes',
            'blobs' }) do
            if call('EXISTS', P .. key) == 1 then return { 'full' } end
        end
    end
    call('DEL', META)
    call('HSET', META, 'layout', 'importing', 'importing', word)
    return { 'begun' }
end
if importing ~= word then
    -- The answer to the end may have been lost.
    if what == 'end' and call('HGET', META, 'imported') == word then return { 'ended' } end
    return { 'replaced' }
end

if what == 'end' then
    -- Layout, position, highest deleted position, fence, number, epoch.
    local living = living_sessions()
    if #living > 0 or call('HEXISTS', META, 'epoch') == 1 then return { 'replaced' } end
    call('HDEL', META, 'importing')
    call('HSET', META, 'layout', ARGV[4], 'position', ARGV[5], 'deleted', ARGV[6],
        'fence', ARGV[7], 'number', ARGV[8], 'imported', word)
    begin_epoch(ARGV[5], ARGV[9])
    return { 'ended' }
elseif what == 'hash' then
    -- Of each: hash, field, value. Of a version of a module, the set of the names has the name too.
    for i = 4, #ARGV, 3 do
        call('HSET', P .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
        local module = string.match(ARGV[i], '^module:(.*)$')
        if module then call('SADD', P .. 'modules', module) end
        local environment = string.match(ARGV[i], '^retired:(.*)$')
        if environment then call('SADD', P .. 'retiring', environment) end
    end
elseif what == 'deployments' then
    -- Of each: id, number, module, environment, fence, lifecycle, status, whether it has ended, when
    -- it was created, request or '', whether it has a selector, selector, whether it waits, number
    -- of the next event.
    for i = 4, #ARGV, 14 do
        local id, number, module, environment = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
        local status, ended, waits = ARGV[i + 6], ARGV[i + 7], ARGV[i + 12]
        local here = place(module, environment)
        call('HSET', deployment_key(id), 'number', number, 'module', module,
            'environment', environment, 'fence', ARGV[i + 4], 'lifecycle', ARGV[i + 5],
            'status', status, 'ended', ended, 'created', ARGV[i + 8], 'token', '',
            'waits', waits, 'seq', ARGV[i + 13], 'owner', '', 'first', '0')
        if ARGV[i + 9] ~= '' then
            call('HSET', P .. 'requests', ARGV[i + 9], id)
            call('HSET', deployment_key(id), 'request', ARGV[i + 9])
        end
        if ARGV[i + 10] == '1' then call('HSET', deployment_key(id), 'selector', ARGV[i + 11]) end
        for _, key in ipairs(fixed_lists(module, environment)) do call('ZADD', key, number, id) end
        for _, key in ipairs(status_lists(module, environment, status)) do
            call('ZADD', key, number, id)
        end
        call('SADD', P .. 'modules:' .. environment, module)
        call('SADD', P .. 'environments', environment)
        if ended == '1' then
            if is_success(status) then call('ZADD', P .. 'succeeded:' .. here, number, id) end
            list_snapshot(id, number, true)
        else
            call('ZADD', P .. 'open', number, id)
            call('ZADD', P .. 'free', number, id)
            call('HSET', P .. (waits == '1' and 'waiting' or 'running'), here, id)
        end
    end
elseif what == 'events' then
    -- Of each event of a deployment: 'd', position, date, id, number, '', body; of an environment:
    -- 'v', position, date, environment, whether it decides, module that it retires or '', body. In
    -- the order of their positions.
    for i = 4, #ARGV, 7 do
        local position, at, about = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
        local body = ARGV[i + 6]
        -- What was written before the answer was lost.
        local last = call('XREVRANGE', P .. 'log', '+', '-', 'COUNT', 1)[1]
        if last and tonumber(string.match(last[1], '^%d+')) >= tonumber(position) then
            -- Nothing.
        elseif ARGV[i] == 'd' then
            -- An event that is missing leaves a place that cannot be read.
            for _ = call('LLEN', events_key(about)) + 1, tonumber(ARGV[i + 4]) do
                call('RPUSH', events_key(about), '0 0 \n')
            end
            call('RPUSH', events_key(about), position .. ' ' .. at .. ' \n' .. body)
            if ARGV[i + 4] == '0' then call('HSET', deployment_key(about), 'first', position) end
            call('XADD', P .. 'log', position .. '-0', 'd', about, 's', ARGV[i + 4], 'n', 1, 'f', '0',
                'l', call('HGET', deployment_key(about), 'lifecycle'))
        else
            call('HSET', P .. 'environment_events', position, at .. ' ' .. about .. '\n' .. body)
            call('ZADD', P .. 'positions', position, position)
            call('ZADD', P .. 'positions:' .. about, position, position)
            if ARGV[i + 4] == '1' then call('SADD', P .. 'deciding', position) end
            if ARGV[i + 5] ~= '' then
                call('ZADD', P .. 'retirements:' .. place(ARGV[i + 5], about), position, position)
            end
            call('XADD', P .. 'log', position .. '-0', 'v', about, 'f', '0')
        end
    end
elseif what == 'part' then
    -- An artifact, the number of a chunk, the chunk.
    call('HSET', P .. 'blob:' .. ARGV[4], ARGV[5], ARGV[6])
elseif what == 'blob' then
    -- An artifact, its size.
    call('HSET', P .. 'blobs', ARGV[4], ARGV[5] .. ' ' .. text(now()))
end
return { 'written' }
