-- ARGV: is a retry, id, format, number of the next event, whether it is of the end, summary, state.
local id, key = ARGV[2], snapshot_key(ARGV[2])
local deployment = call('HMGET', deployment_key(id), 'number', 'ended')
if not deployment[1] then return { 'unknown' } end
-- It was made before the store lost the end.
local is_end = ARGV[5] == '1'
if is_end and deployment[2] ~= '1' then return { 'lost' } end
local before = call('HMGET', key, 'format', 'next', 'ended')
local is_older = before[1] == ARGV[3] and tonumber(before[2]) > tonumber(ARGV[4])
-- One of events that are lost may have a higher number than that of the end.
if is_older and not (is_end and before[3] ~= '1') then return { 'older' } end
call('HSET', key, 'format', ARGV[3], 'next', ARGV[4], 'ended', ARGV[5],
    'summary', ARGV[6], 'state', ARGV[7])
list_snapshot(id, deployment[1], deployment[2] == '1')
return { 'put' }
