-- ARGV: is a retry, id.
local found = call('HMGET', deployment_key(ARGV[2]), 'seq', 'lifecycle', 'module', 'environment',
    'created', 'status', 'ended')
if not found[1] then return false end
return found
