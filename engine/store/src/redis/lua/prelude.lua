-- Before every script. KEYS[1] is `{prefix}:meta`: all keys have the same hash tag, so that a
-- cluster keeps them on one server, where one script may use them all.
local META = KEYS[1]
local P = string.sub(META, 1, -5)
local call = redis.call

-- While a cluster moves the keys to another node, those that are missing here may be there, and a
-- script would take them for missing. The server says so of any key that is missing.
local probe = redis.pcall('EXISTS', P .. 'never')
if type(probe) == 'table' and probe.err then
    return redis.error_reply('TRYAGAIN the cluster moves the keys of the store: ' .. probe.err)
end

-- Lua's own conversion writes large numbers as 1e+15.
local function text(number)
    return string.format('%.0f', number)
end

-- Milliseconds since the Unix epoch, by the server's clock.
local function now()
    local time = call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function deployment_key(id) return P .. 'd:' .. id end
local function events_key(id) return P .. 'e:' .. id end
local function snapshot_key(id) return P .. 's:' .. id end
local function place(module, environment) return environment .. '/' .. module end
-- The environments whose leases are a session's.
local function environments_key(session) return P .. 'own_environments:' .. session end

-- A hash as a table, empty if there is none.
local function read_hash(key)
    local flat, found = call('HGETALL', key), {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    return found
end

-- The lists that a deployment is in as long as it exists.
local function fixed_lists(module, environment)
    return {
        P .. 'i',
        P .. 'i:m:' .. module,
        P .. 'i:e:' .. environment,
        P .. 'i:me:' .. place(module, environment),
    }
end

-- The lists that a deployment is in while it has this status.
local function status_lists(module, environment, status)
    return {
        P .. 'i:s:' .. status,
        P .. 'i:ms:' .. module .. ':' .. status,
        P .. 'i:es:' .. environment .. ':' .. status,
        P .. 'i:mes:' .. place(module, environment) .. ':' .. status,
    }
end

local function is_success(status)
    return status == 'succeeded' or status == 'partial'
end

-- No lease is longer than a minute. A session that ends later comes from before the clock was set
-- back, or from a server whose clock was ahead: nobody may wait for its end. In milliseconds, with a
-- second for a clock that is only corrected.
local LONGEST_LEASE = 61000

-- How long an environment is left to engines that work in fewer, in milliseconds: one that is free
-- for two of their looks, and one that was given back until each has compared its nodes.
local LEAVE_FREE, LEAVE_GIVEN = 1000, 6000

-- Whether an engine renews its session.
local function is_alive(session)
    local expires = call('ZSCORE', P .. 'sessions', session)
    local left = expires and tonumber(expires) - now()
    return left and left > 0 and left <= LONGEST_LEASE
end

-- The sessions that are renewed: the store is in use.
local function living_sessions()
    local time = now()
    local from, to = '(' .. text(time), text(time + LONGEST_LEASE)
    return call('ZRANGEBYSCORE', P .. 'sessions', from, to)
end

-- The sessions of the living engines: not those of observers.
local function living_engines()
    local found = {}
    for _, session in ipairs(living_sessions()) do
        if call('SISMEMBER', P .. 'observers', session) == 0 then found[#found + 1] = session end
    end
    return found
end

-- The leases of a session pass to whoever takes them.
local function end_session(session)
    local own = P .. 'own:' .. session
    for _, id in ipairs(call('SMEMBERS', own)) do
        local number = call('HGET', deployment_key(id), 'number')
        if number and call('ZSCORE', P .. 'open', id) then
            call('ZADD', P .. 'free', number, id)
        end
    end
    call('DEL', own, environments_key(session))
    call('ZREM', P .. 'sessions', session)
    call('HDEL', P .. 'engines', session)
    call('HDEL', P .. 'settings', session)
    call('SREM', P .. 'observers', session)
end

-- Puts an ended deployment into the list of those whose end has a snapshot of this format, or
-- of those whose end has none.
local function list_snapshot(id, number, has_ended)
    local snapshot = call('HMGET', snapshot_key(id), 'format', 'ended')
    local before = call('HGET', deployment_key(id), 'snapped')
    local list = ''
    if has_ended then
        list = snapshot[2] == '1' and snapshot[1] or 'none'
    end
    if before and before ~= '' and before ~= list then
        call('ZREM', P .. 'snapped:' .. before, id)
    end
    if list ~= '' then
        call('ZADD', P .. 'snapped:' .. list, number, id)
        call('SADD', P .. 'formats', list)
    end
    call('HSET', deployment_key(id), 'snapped', list)
end

-- Appends events, and tells the followers of the log. Returns the position of the last one.
local function push(id, seq, at, token, lifecycle, fenced, bodies)
    local count = #bodies
    local last = call('HINCRBY', META, 'position', count)
    local rows = {}
    for i, body in ipairs(bodies) do
        rows[i] = text(last - count + i) .. ' ' .. at .. ' ' .. (i == 1 and token or '') .. '\n' .. body
    end
    for from = 1, count, 1000 do
        call('RPUSH', events_key(id), unpack(rows, from, math.min(from + 999, count)))
    end
    call('HSET', deployment_key(id), 'seq', seq + count)
    call('XADD', P .. 'log', text(last) .. '-0',
        'd', id, 's', seq, 'n', count, 'f', fenced, 'l', lifecycle)
    return last
end

-- Gives the store a new epoch. The other engines learn of it from a place behind the last position,
-- which no event has.
local function begin_epoch(position, epoch)
    local entry = call('XADD', P .. 'log', position .. '-*', 'x', epoch)
    call('HSET', META, 'epoch', epoch, 'epoch_place', entry)
end

-- Events up to this position may be missing. Whoever drives a deployment begins anew: a journal that
-- is shorter may have grown to the length that its driver expects.
local function note_loss(position)
    call('HSET', META, 'lost', position, 'lost_time', text(now()))
    local open = call('ZRANGE', P .. 'open', 0, -1, 'WITHSCORES')
    if #open == 0 then return end
    local fence = text(call('HINCRBY', META, 'fence', 1))
    for i = 1, #open, 2 do
        local key = deployment_key(open[i])
        local owner = call('HGET', key, 'owner')
        if owner and owner ~= '' then call('SREM', P .. 'own:' .. owner, open[i]) end
        call('HSET', key, 'fence', fence, 'owner', '')
        call('ZADD', P .. 'free', open[i + 1], open[i])
    end
end

-- Sets the lifecycle of a deployment. Where it ends, the one that waits for it may begin.
local function set_lifecycle(id, deployment, lifecycle, status, ended)
    local module, environment = deployment.module, deployment.environment
    local number = deployment.number
    call('HSET', deployment_key(id), 'lifecycle', lifecycle, 'status', status, 'ended', ended)
    if status ~= deployment.status then
        for _, key in ipairs(status_lists(module, environment, deployment.status)) do
            call('ZREM', key, id)
        end
        for _, key in ipairs(status_lists(module, environment, status)) do
            call('ZADD', key, number, id)
        end
    end
    if ended ~= '1' then return end
    local here = place(module, environment)
    call('ZREM', P .. 'open', id)
    call('ZREM', P .. 'free', id)
    if deployment.owner and deployment.owner ~= '' then
        call('SREM', P .. 'own:' .. deployment.owner, id)
    end
    if is_success(status) then
        call('ZADD', P .. 'succeeded:' .. here, number, id)
    end
    list_snapshot(id, number, true)
    if deployment.waits == '1' then
        call('HDEL', P .. 'waiting', here)
        return
    end
    call('HDEL', P .. 'running', here)
    local waiting = call('HGET', P .. 'waiting', here)
    if waiting then
        call('HDEL', P .. 'waiting', here)
        call('HSET', P .. 'running', here, waiting)
        call('HSET', deployment_key(waiting), 'waits', '0')
    end
end

-- The arguments from one on.
local function rest(from)
    local found = {}
    for i = from, #ARGV do found[#found + 1] = ARGV[i] end
    return found
end
