-- ARGV: is a retry, 'look' or 'repair', the position and the fence that an engine has seen, the
-- epoch that it knows, a new epoch, layout, then of each entry of the log that it has read its place
-- and its fields. Where some of that is missing, acknowledged writes are lost. Then positions and
-- fences go on above those that were seen, under a new epoch.
local position = tonumber(call('HGET', META, 'position') or '0')
local fence = tonumber(call('HGET', META, 'fence') or '0')
local epoch = call('HGET', META, 'epoch') or ''
local lost = position < tonumber(ARGV[3]) or fence < tonumber(ARGV[4]) or epoch == ''
if not lost and epoch == ARGV[5] then
    local deleted = tonumber(call('HGET', META, 'deleted') or '0')
    for i = 8, #ARGV, 2 do
        local entry = call('XRANGE', P .. 'log', ARGV[i], ARGV[i])[1]
        -- Others may have appended since, up to the same position: then the entry is another one.
        -- What was deleted is missing, and that is no loss.
        if entry and table.concat(entry[2], ' ') ~= ARGV[i + 1]
            or not entry and deleted < tonumber(string.match(ARGV[i], '^%d+')) then
            lost = true
        end
    end
end
if not lost then
    if epoch == ARGV[5] then return { 'whole' } end
    return { 'epoch', epoch, call('HGET', META, 'epoch_place') or '' }
end
if ARGV[2] == 'look' then return { 'lost' } end
local last = text(math.max(position, tonumber(ARGV[3])))
call('HSET', META, 'position', last, 'fence', text(math.max(fence, tonumber(ARGV[4]))))
for field, value in pairs({ layout = ARGV[7], number = '0', deleted = '0' }) do
    call('HSETNX', META, field, value)
end
note_loss(last)
begin_epoch(last, ARGV[6])
return { 'repaired', ARGV[6], text(position) }
