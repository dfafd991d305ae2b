-- ARGV: is a retry, environment, fence or '', at, token, position of the newest cordon or '', then
-- of each event: what it is, the module or node that it is about, body. A change of a policy is
-- about the position that it replaces. The steps of a repair have no name.
local environment, fence, at = ARGV[2], ARGV[3], ARGV[4]
local token = P .. 'token:' .. ARGV[5]
-- In seconds. An engine sends a write again for its patience, which is ten minutes at most; five
-- more for a connection or a server that stood still.
local KEEP_TOKEN = 900
if ARGV[1] == '1' then
    local position = call('GET', token)
    if position then return { 'appended', position } end
end
if fence ~= '' then
    local current = call('HGET', P .. 'environment:' .. environment, 'fence') or '0'
    if fence ~= current then return { 'fenced', current } end
end
if ARGV[6] ~= '' then
    local here, newest = environment .. '/', 0
    for node, position in pairs(read_hash(P .. 'cordons')) do
        if string.sub(node, 1, #here) == here then newest = math.max(newest, tonumber(position)) end
    end
    if newest ~= tonumber(ARGV[6]) then return { 'cordoned', text(newest) } end
end
for i = 7, #ARGV, 3 do
    if ARGV[i] == 'retired' then
        local open = call('HGET', P .. 'running', place(ARGV[i + 1], environment))
        if open then return { 'busy', open } end
    elseif ARGV[i] == 'policySet' or ARGV[i] == 'policyUnset' then
        local current = call('HGET', P .. 'policies', environment) or ''
        if ARGV[i + 1] ~= current then return { 'replaced', current } end
    end
end

-- From here on, the event decides nothing any more.
local function release(hash, field)
    local position = call('HGET', P .. hash, field)
    if position then
        call('SREM', P .. 'deciding', position)
        call('HDEL', P .. hash, field)
    end
end

local position
local decides = false
for i = 7, #ARGV, 3 do
    local kind, about = ARGV[i], ARGV[i + 1]
    decides = decides or kind ~= ''
    local number = call('HINCRBY', META, 'position', 1)
    position = text(number)
    call('HSET', P .. 'environment_events', position, at .. ' ' .. environment .. '\n' .. ARGV[i + 2])
    call('ZADD', P .. 'positions', number, position)
    call('ZADD', P .. 'positions:' .. environment, number, position)
    local node = environment .. '/' .. about
    if kind == 'retired' then
        call('HSET', P .. 'retired:' .. environment, about, call('HGET', META, 'number') .. ' ' .. at)
        call('SADD', P .. 'retiring', environment)
        call('ZADD', P .. 'retirements:' .. place(about, environment), number, position)
        call('SADD', P .. 'deciding', position)
    elseif kind == 'cordoned' then
        release('cordons', node)
        call('HSET', P .. 'cordons', node, position)
        call('SADD', P .. 'deciding', position)
    elseif kind == 'uncordoned' then
        release('cordons', node)
    elseif kind == 'expired' then
        call('HDEL', P .. 'nodes', about)
    elseif kind == 'forgotten' then
        release('cordons', node)
        release('arrivals', about)
        call('HDEL', P .. 'nodes', about)
    elseif kind == 'arrived' then
        release('arrivals', about)
        call('HSET', P .. 'arrivals', about, position)
        call('SADD', P .. 'deciding', position)
    elseif kind == 'policySet' then
        release('policies', environment)
        call('HSET', P .. 'policies', environment, position)
        call('SADD', P .. 'deciding', position)
    elseif kind == 'policyUnset' then
        release('policies', environment)
    end
end
if position then
    call('XADD', P .. 'log', position .. '-0', 'v', environment, 'f', decides and '0' or '1')
    call('SET', token, position, 'EX', KEEP_TOKEN)
end
return { 'appended', position or call('HGET', META, 'position') }
