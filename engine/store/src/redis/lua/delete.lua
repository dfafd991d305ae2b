-- ARGV: is a retry, id.
local id = ARGV[2]
local deployment = read_hash(deployment_key(id))
if not deployment.seq then return { ARGV[1] == '1' and 'deleted' or 'unknown' } end
if deployment.ended ~= '1' then return { 'open' } end
local module, environment = deployment.module, deployment.environment
local here, count = place(module, environment), tonumber(deployment.seq)
local highest = 0
for from = 0, count - 1, 500 do
    local positions = {}
    for i, row in ipairs(call('LRANGE', events_key(id), from, from + 499)) do
        local position = string.match(row, '^%d+')
        positions[i] = position .. '-0'
        highest = math.max(highest, tonumber(position))
    end
    if #positions > 0 then call('XDEL', P .. 'log', unpack(positions)) end
end
if highest > tonumber(call('HGET', META, 'deleted')) then
    call('HSET', META, 'deleted', text(highest))
end
for _, key in ipairs(fixed_lists(module, environment)) do call('ZREM', key, id) end
for _, key in ipairs(status_lists(module, environment, deployment.status)) do
    call('ZREM', key, id)
end
call('ZREM', P .. 'succeeded:' .. here, id)
if deployment.snapped and deployment.snapped ~= '' then
    call('ZREM', P .. 'snapped:' .. deployment.snapped, id)
end
if deployment.request then call('HDEL', P .. 'requests', deployment.request) end
call('DEL', deployment_key(id), events_key(id), snapshot_key(id))
if call('EXISTS', P .. 'i:me:' .. here) == 0 then
    call('SREM', P .. 'modules:' .. environment, module)
end
if call('EXISTS', P .. 'i:e:' .. environment) == 0 then
    call('SREM', P .. 'environments', environment)
end
return { 'deleted' }
