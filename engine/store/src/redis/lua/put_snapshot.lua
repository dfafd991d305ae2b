-- ARGV: is a retry, id, format, number of the next event, whether it is of the end, summary, state.
local id, key = ARGV[2], snapshot_key(ARGV[2])
local deployment = call('HMGET', deployment_key(id), 'number', 'ended', 'seq')
if not deployment[1] then return { 'unknown' } end
-- It was made before the store lost what it is of.
if tonumber(ARGV[4]) > tonumber(deployment[3]) or ARGV[5] == '1' and deployment[2] ~= '1' then
    return { 'lost' }
end
local before = call('HMGET', key, 'format', 'next')
if before[1] == ARGV[3] and tonumber(before[2]) > tonumber(ARGV[4]) then return { 'older' } end
call('HSET', key, 'format', ARGV[3], 'next', ARGV[4], 'ended', ARGV[5],
    'summary', ARGV[6], 'state', ARGV[7])
list_snapshot(id, deployment[1], deployment[2] == '1')
return { 'put' }
