-- ARGV: is a retry, id, session. A lease of the session passes to whoever takes it.
local id, own = ARGV[2], P .. 'own:' .. ARGV[3]
if call('SREM', own, id) == 0 then return { 'other' } end
local deployment = read_hash(deployment_key(id))
if deployment.owner == ARGV[3] then
    call('HSET', deployment_key(id), 'owner', '')
    if call('ZSCORE', P .. 'open', id) then
        call('ZADD', P .. 'free', deployment.number, id)
    end
end
return { 'released' }
