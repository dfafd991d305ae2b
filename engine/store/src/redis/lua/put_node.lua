-- ARGV: is a retry, node, its instance or '', the instance that it replaces or '', record, the
-- stored record that the engine could not read or ''.
-- Records a node, unless another one has its id. Returns the record that is stored.
local key, id, instance, replaces, record = P .. 'nodes', ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local stored = call('HGET', key, id)
if stored and stored ~= record and stored ~= ARGV[6] then
    -- A node without an instance cannot be told from others, and neither can one whose record
    -- cannot be read.
    local readable, other = pcall(cjson.decode, stored)
    local found = readable and type(other) == 'table' and other.instance or ''
    if found ~= '' and found ~= instance and found ~= replaces then return { stored } end
end
call('HSET', key, id, record)
return { record }
