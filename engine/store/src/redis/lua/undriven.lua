-- ARGV: is a retry. The open deployments that no living engine drives, oldest first, each with
-- its environment.
for _, session in ipairs(call('ZRANGEBYSCORE', P .. 'sessions', '-inf', text(now()))) do
    end_session(session)
end
local found = {}
for _, id in ipairs(call('ZRANGE', P .. 'free', 0, -1)) do
    found[#found + 1] = id
    found[#found + 1] = call('HGET', deployment_key(id), 'environment')
end
return found
