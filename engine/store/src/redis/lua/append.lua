-- ARGV: is a retry, id, expected number, fence or '', at, token, lifecycle after or '' where it
-- stays, its status, whether it has ended, bodies.
local id, expected, fence = ARGV[2], ARGV[3], ARGV[4]
local bodies = rest(10)
local deployment = read_hash(deployment_key(id))
if not deployment.seq then return { 'unknown' } end
if ARGV[1] == '1' and #bodies > 0 then
    local row = call('LINDEX', events_key(id), expected)
    if row and string.match(row, '^%d+ %d+ (%S*)\n') == ARGV[6] then
        return { 'repeated', call('HGET', META, 'position') }
    end
end
if fence ~= '' and fence ~= deployment.fence then return { 'fenced', deployment.fence } end
if expected ~= deployment.seq then return { 'conflict', deployment.seq, deployment.lifecycle } end
if #bodies == 0 then return { 'same', deployment.seq, deployment.lifecycle } end
local lifecycle = deployment.lifecycle
if ARGV[7] ~= '' then
    lifecycle = ARGV[7]
    set_lifecycle(id, deployment, lifecycle, ARGV[8], ARGV[9])
end
local position = push(id, tonumber(expected), ARGV[5], ARGV[6], lifecycle, fence == '' and '0' or '1', bodies)
return { 'appended', text(position) }
