-- ARGV: is a retry, what: 'decisions' or 'successes', environment or '' for all.
-- The successful deployments of a module that decide what should run on a node, newest first: the
-- newest one of each selector, back to the newest one without. And whether they decide for all.
local function deciding(here, retired)
    local found, selectors, offset = {}, {}, 0
    while true do
        local ids = call('ZREVRANGEBYSCORE', P .. 'succeeded:' .. here, '+inf', '(' .. retired,
            'LIMIT', offset, 64)
        for _, id in ipairs(ids) do
            local selector = call('HGET', deployment_key(id), 'selector')
            if not selector then
                found[#found + 1] = id
                return found, true
            end
            if not selectors[selector] then
                selectors[selector] = true
                found[#found + 1] = id
            end
        end
        if #ids < 64 then return found, false end
        offset = offset + 64
    end
end

-- The deployments that ended without success, likewise. One that ended while it waited for
-- another one has not begun, and decides nothing.
local function unsuccessful(module, environment)
    local found, selectors, offset = {}, {}, 0
    local list = P .. 'i:me:' .. place(module, environment)
    while true do
        local ids = call('ZREVRANGE', list, offset, offset + 63)
        for _, id in ipairs(ids) do
            local one = call('HMGET', deployment_key(id), 'ended', 'waits', 'status', 'selector')
            if one[1] == '1' and one[2] ~= '1' and not is_success(one[3]) then
                if not one[4] then
                    found[#found + 1] = id
                    return found
                end
                if not selectors[one[4]] then
                    selectors[one[4]] = true
                    found[#found + 1] = id
                end
            end
        end
        if #ids < 64 then return found end
        offset = offset + 64
    end
end

local environments = { ARGV[3] }
if ARGV[3] == '' then
    environments = call('SMEMBERS', P .. 'environments')
    table.sort(environments)
end
local result = {}
local function add(module, kind, value)
    result[#result + 1] = module
    result[#result + 1] = kind
    result[#result + 1] = value
end
for _, environment in ipairs(environments) do
    local retired = read_hash(P .. 'retired:' .. environment)
    local known, modules = {}, call('SMEMBERS', P .. 'modules:' .. environment)
    for _, module in ipairs(modules) do known[module] = true end
    for module in pairs(retired) do
        if not known[module] then modules[#modules + 1] = module end
    end
    table.sort(modules)
    for _, module in ipairs(modules) do
        local number, at = '0', nil
        if retired[module] then number, at = string.match(retired[module], '^(%d+) (%d+)$') end
        local successes, for_all = deciding(place(module, environment), number)
        for _, id in ipairs(successes) do add(module, 'succeeded', id) end
        if ARGV[2] == 'decisions' and not for_all then
            if at then
                add(module, 'retired', at)
            else
                for _, id in ipairs(unsuccessful(module, environment)) do
                    add(module, 'unsuccessful', id)
                end
            end
        end
    end
end
return result
