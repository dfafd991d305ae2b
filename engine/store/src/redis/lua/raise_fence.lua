-- ARGV: is a retry, fence, new epoch.
local last = tonumber(call('HGET', META, 'fence') or '0')
if tonumber(ARGV[2]) <= last then return { 'higher', call('HGET', META, 'epoch') } end
call('HSET', META, 'fence', ARGV[2], 'epoch', ARGV[3])
-- The other engines learn of it. A place behind the last position: no event has it.
call('XADD', P .. 'log', text(tonumber(call('HGET', META, 'position') or '0')) .. '-*', 'x', ARGV[3])
return { 'raised', ARGV[3] }
