-- ARGV: is a retry, session, then of each lease that it could give back: environment, fence.
-- Gives one of them back, if the session works in more than its share of the environments.
local session = ARGV[2]
-- Also what an attempt before this one has given back.
for i = 3, #ARGV, 2 do
    local lease = read_hash(P .. 'environment:' .. ARGV[i])
    if lease.owner ~= session or lease.fence ~= ARGV[i + 1] then return { 'lost', ARGV[i] } end
end
local sessions, count = living_engines(), 0
for _, other in ipairs(sessions) do count = count + call('SCARD', environments_key(other)) end
local share = math.ceil(count / math.max(#sessions, 1))
if call('SCARD', environments_key(session)) <= share then return { 'kept' } end

local function has_open_deployment(environment)
    for _, module in ipairs(call('SMEMBERS', P .. 'modules:' .. environment)) do
        if call('HEXISTS', P .. 'running', place(module, environment)) == 1 then return true end
    end
    return false
end

for i = 3, #ARGV, 2 do
    local environment = ARGV[i]
    if not has_open_deployment(environment) then
        -- What the engine still does under the lease is rejected.
        local fence = text(call('HINCRBY', META, 'fence', 1))
        call('HSET', P .. 'environment:' .. environment, 'owner', '', 'fence', fence,
            'left_until', text(now() + LEAVE_GIVEN))
        call('SREM', environments_key(session), environment)
        return { 'given', environment }
    end
end
return { 'kept' }
