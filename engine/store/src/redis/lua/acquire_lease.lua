-- ARGV: is a retry, id, session. Raises the fence, and binds it to the deployment.
local id, session = ARGV[2], ARGV[3]
local deployment = read_hash(deployment_key(id))
if not deployment.seq then return { 'unknown' } end
local owner = deployment.owner or ''
if owner ~= '' and owner ~= session and is_alive(owner) then
    return { 'held', call('HGET', P .. 'engines', owner) or owner }
end
if not is_alive(session) then return { 'lapsed' } end
local fence = text(call('HINCRBY', META, 'fence', 1))
call('HSET', deployment_key(id), 'fence', fence, 'owner', session)
if deployment.ended ~= '1' then
    if owner ~= '' then call('SREM', P .. 'own:' .. owner, id) end
    call('SADD', P .. 'own:' .. session, id)
    call('ZREM', P .. 'free', id)
end
return { 'acquired', fence, deployment.seq, deployment.lifecycle, deployment.fence or '0',
    call('HGET', META, 'lost') or '0' }
