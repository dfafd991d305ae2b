-- ARGV: is a retry, environment, session.
local key, session = P .. 'environment:' .. ARGV[2], ARGV[3]
local owner = call('HGET', key, 'owner')
if owner and owner ~= session and is_alive(owner) then
    return { 'held', call('HGET', P .. 'engines', owner) or owner }
end
if not is_alive(session) then return { 'lapsed' } end
local fence = text(call('HINCRBY', META, 'fence', 1))
call('HSET', key, 'fence', fence, 'owner', session)
return { 'acquired', fence }
