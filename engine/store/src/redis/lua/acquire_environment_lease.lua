-- ARGV: is a retry, environment, session.
local key, session = P .. 'environment:' .. ARGV[2], ARGV[3]
local owner = call('HGET', key, 'owner') or ''
local is_own = owner == session
if owner ~= '' and not is_own and is_alive(owner) then
    return { 'held', call('HGET', P .. 'engines', owner) or owner }
end
if not is_alive(session) then return { 'lapsed' } end

-- A free environment is for the engine that works in the fewest. Only for a while: it may live, and
-- take nothing.
local function left_to()
    local own_count = call('SCARD', environments_key(session))
    for _, other in ipairs(living_engines()) do
        if call('SCARD', environments_key(other)) < own_count then
            local left = tonumber(call('HGET', key, 'left_until') or '')
            if not left then
                left = now() + LEAVE_FREE
                call('HSET', key, 'left_until', text(left))
            end
            left = left - now()
            -- The clock may have been set back since.
            return left > 0 and left <= LEAVE_GIVEN and other
        end
    end
end

local other = not is_own and left_to()
if other then return { 'held', call('HGET', P .. 'engines', other) or other } end
local fence = text(call('HINCRBY', META, 'fence', 1))
call('HSET', key, 'fence', fence, 'owner', session)
call('HDEL', key, 'left_until')
if owner ~= '' then call('SREM', environments_key(owner), ARGV[2]) end
call('SADD', environments_key(session), ARGV[2])
return { 'acquired', fence }
