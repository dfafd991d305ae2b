-- ARGV: is a retry, session, environment, fence. The lease of the environment passes to whoever takes
-- it, unless the session drives a deployment there.
local session, environment = ARGV[2], ARGV[3]
local key = P .. 'environment:' .. environment
local lease = read_hash(key)
-- Also what an attempt before this one has given back.
if lease.owner ~= session or lease.fence ~= ARGV[4] then return { 'lost' } end
for _, module in ipairs(call('SMEMBERS', P .. 'modules:' .. environment)) do
    for _, list in ipairs({ 'running', 'waiting' }) do
        local id = call('HGET', P .. list, place(module, environment))
        if id and call('HGET', deployment_key(id), 'owner') == session then return { 'kept' } end
    end
end
-- What the engine still does under the lease is rejected. The environment is left to nobody: the
-- engine for which it is may work in more than others.
local fence = text(call('HINCRBY', META, 'fence', 1))
call('HSET', key, 'owner', '', 'fence', fence, 'left_until', text(now()))
call('SREM', environments_key(session), environment)
return { 'given' }
