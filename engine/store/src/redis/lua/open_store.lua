-- ARGV: is a retry, layout that this engine knows, epoch for a new store. The layout, the epoch
-- and the last place in the log.
local layout = call('HGET', META, 'layout')
if not layout then
    call('HSET', META, 'layout', ARGV[2], 'epoch', ARGV[3], 'position', '0', 'fence', '0',
        'number', '0', 'deleted', '0')
    layout = ARGV[2]
end
local last = call('XREVRANGE', P .. 'log', '+', '-', 'COUNT', 1)
return { layout, call('HGET', META, 'epoch'), last[1] and last[1][1] or '0-0',
    call('HGET', META, 'position') }
