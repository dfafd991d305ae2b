-- ARGV: is a retry, id, module, environment, lifecycle, status, at, token, requester,
-- idempotency key or '', whether it has a selector, selector, superseded id or '', id from which it
-- goes back or '', whether it brings that back, body, then what to append to the open deployment and to the waiting one. Of each: id or '', number,
-- lifecycle after, status, ended, count of bodies, bodies.
local id, module, environment = ARGV[2], ARGV[3], ARGV[4]
local at, token, supersedes = ARGV[7], ARGV[8], ARGV[13]
local here = place(module, environment)
if ARGV[1] == '1' and call('HGET', deployment_key(id), 'token') == token then
    return { 'created', call('HGET', META, 'position') }
end
local request = ARGV[9] .. '\n' .. ARGV[10]
if ARGV[10] ~= '' then
    local first = call('HGET', P .. 'requests', request)
    if first then return { 'repeated', first } end
end
local open = call('HGET', P .. 'running', here)
if open and supersedes ~= open then return { 'busy', open } end
if not open and supersedes ~= '' then return { 'nothing', supersedes } end
if ARGV[14] ~= '' then
    local newest = call('ZREVRANGE', P .. 'succeeded:' .. here, 0, 0, 'WITHSCORES')
    local retired = ARGV[15] == '0' and call('HGET', P .. 'retired:' .. environment, module)
    local through = retired and tonumber(string.match(retired, '^(%d+) ')) or 0
    if newest[1] ~= ARGV[14] or tonumber(newest[2]) <= through then
        return { 'outdated', ARGV[14] }
    end
end
if call('EXISTS', deployment_key(id)) == 1 then return { 'exists' } end
if open then
    local waiting = call('HGET', P .. 'waiting', here) or ''
    local parts, from = {}, 17
    for part = 1, 2 do
        local count = tonumber(ARGV[from + 5])
        local bodies = {}
        for i = 1, count do bodies[i] = ARGV[from + 5 + i] end
        parts[part] = {
            id = ARGV[from], seq = ARGV[from + 1], lifecycle = ARGV[from + 2],
            status = ARGV[from + 3], ended = ARGV[from + 4], bodies = bodies,
        }
        from = from + 6 + count
    end
    -- What they are has changed since the engine looked: it looks again.
    if parts[1].id ~= open or parts[2].id ~= waiting then return { 'changed' } end
    for _, part in ipairs(parts) do
        if part.id ~= '' and call('HGET', deployment_key(part.id), 'seq') ~= part.seq then
            return { 'changed' }
        end
    end
    for _, part in ipairs(parts) do
        if part.id ~= '' and #part.bodies > 0 then
            local deployment = read_hash(deployment_key(part.id))
            set_lifecycle(part.id, deployment, part.lifecycle, part.status, part.ended)
            push(part.id, tonumber(part.seq), at, token, part.lifecycle, '0', part.bodies)
        end
    end
end
local number = call('HINCRBY', META, 'number', 1)
call('HSET', deployment_key(id),
    'number', text(number), 'module', module, 'environment', environment, 'fence', '0',
    'lifecycle', ARGV[5], 'status', ARGV[6], 'ended', '0', 'created', at, 'token', token,
    'waits', open and '1' or '0', 'seq', '0', 'owner', '')
if ARGV[11] == '1' then call('HSET', deployment_key(id), 'selector', ARGV[12]) end
if ARGV[10] ~= '' then
    call('HSET', P .. 'requests', request, id)
    call('HSET', deployment_key(id), 'request', request)
end
for _, key in ipairs(fixed_lists(module, environment)) do call('ZADD', key, number, id) end
for _, key in ipairs(status_lists(module, environment, ARGV[6])) do
    call('ZADD', key, number, id)
end
call('ZADD', P .. 'open', number, id)
call('ZADD', P .. 'free', number, id)
call('HSET', P .. (open and 'waiting' or 'running'), here, id)
call('SADD', P .. 'modules:' .. environment, module)
call('SADD', P .. 'environments', environment)
local position = push(id, 0, at, token, ARGV[5], '0', { ARGV[16] })
call('HSET', deployment_key(id), 'first', text(position))
return { 'created', text(position) }
