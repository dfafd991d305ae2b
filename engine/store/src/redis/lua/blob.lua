-- ARGV: is a retry, what to do, digest, then what that needs. A blob is a list of chunks; `blobs`
-- has the size and the date of each that is whole.
local what, key = ARGV[2], P .. 'blob:' .. ARGV[3]
if what == 'part' then
    -- An upload, its part number, the chunk.
    call('HSET', P .. 'upload:' .. ARGV[4], ARGV[5], ARGV[6])
    call('EXPIRE', P .. 'upload:' .. ARGV[4], 3600)
    return { 'stored' }
elseif what == 'finish' then
    -- The upload, the number of its parts, the size. The same blob may be there already.
    local upload = P .. 'upload:' .. ARGV[4]
    if tonumber(ARGV[5]) > 0 and call('HLEN', upload) == tonumber(ARGV[5]) then
        call('PERSIST', upload)
        call('RENAME', upload, key)
    elseif call('HLEN', key) ~= tonumber(ARGV[5]) then
        return { 'incomplete' }
    end
    call('HSET', P .. 'blobs', ARGV[3], ARGV[6] .. ' ' .. text(now()))
    return { 'finished' }
elseif what == 'chunk' then
    return call('HGET', key, ARGV[4])
elseif what == 'size' then
    local found = call('HGET', P .. 'blobs', ARGV[3])
    return found and string.match(found, '^%d+')
elseif what == 'list' then
    local flat, at = call('HGETALL', P .. 'blobs'), now()
    local found = {}
    for i = 1, #flat, 2 do
        local size, date = string.match(flat[i + 1], '^(%d+) (%d+)$')
        found[#found + 1] = flat[i]
        found[#found + 1] = size
        found[#found + 1] = text(math.max(0, at - tonumber(date)))
    end
    return found
elseif what == 'remove' then
    -- A time in milliseconds: a blob that was uploaded again within it stays. 0 removes it anyway.
    local found = call('HGET', P .. 'blobs', ARGV[3])
    local date = found and tonumber(string.match(found, '%d+$'))
    if date and tonumber(ARGV[4]) > 0 and now() - date < tonumber(ARGV[4]) then
        return { 'kept' }
    end
    call('DEL', key)
    return { call('HDEL', P .. 'blobs', ARGV[3]) == 1 and 'removed' or 'missing' }
end
return redis.error_reply('ERR unknown operation on a blob')
