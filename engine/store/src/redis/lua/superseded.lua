-- ARGV: is a retry, module, environment. What a create that supersedes would end: of the open
-- deployment and of the waiting one id, number and lifecycle, '' where there is none.
local here = place(ARGV[2], ARGV[3])
local found = {}
for i, list in ipairs({ 'running', 'waiting' }) do
    local id = call('HGET', P .. list, here)
    found[3 * i - 2] = id or ''
    found[3 * i - 1] = id and call('HGET', deployment_key(id), 'seq') or '0'
    found[3 * i] = id and call('HGET', deployment_key(id), 'lifecycle') or ''
end
return found
