-- ARGV: is a retry, fence, new epoch.
local last = tonumber(call('HGET', META, 'fence') or '0')
if tonumber(ARGV[2]) <= last then return { 'higher', call('HGET', META, 'epoch') } end
call('HSET', META, 'fence', ARGV[2])
local position = text(tonumber(call('HGET', META, 'position') or '0'))
note_loss(position)
begin_epoch(position, ARGV[3])
return { 'raised', ARGV[3] }
