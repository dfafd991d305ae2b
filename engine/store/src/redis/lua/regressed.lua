-- ARGV: is a retry, the position that an engine has seen, new epoch, layout. Where the store ends
-- before it, acknowledged writes are lost: positions go on above it, under a new epoch.
local position = tonumber(call('HGET', META, 'position') or '0')
if position >= tonumber(ARGV[2]) then return { 'whole' } end
call('HSET', META, 'position', ARGV[2], 'epoch', ARGV[3])
for field, value in pairs({ layout = ARGV[4], fence = '0', number = '0', deleted = '0' }) do
    call('HSETNX', META, field, value)
end
call('XADD', P .. 'log', ARGV[2] .. '-*', 'x', ARGV[3])
return { 'shorter', text(position) }
