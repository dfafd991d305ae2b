-- ARGV: is a retry. The open deployments that no living engine drives, oldest first, each with
-- its environment.
for _, session in ipairs(call('ZRANGE', P .. 'sessions', 0, -1)) do
    if not is_alive(session) then end_session(session) end
end
local found = {}
for _, id in ipairs(call('ZRANGE', P .. 'free', 0, -1)) do
    found[#found + 1] = id
    found[#found + 1] = call('HGET', deployment_key(id), 'environment')
end
return found
