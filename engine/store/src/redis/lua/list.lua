-- ARGV: is a retry, list, id of the deployment before or '', maximum.
local before = '+inf'
if ARGV[3] ~= '' then
    local number = call('HGET', deployment_key(ARGV[3]), 'number')
    if not number then return false end
    before = '(' .. number
end
return call('ZREVRANGEBYSCORE', P .. ARGV[2], before, '-inf', 'LIMIT', 0, ARGV[4])
