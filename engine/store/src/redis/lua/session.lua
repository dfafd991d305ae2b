-- ARGV: is a retry, what to do, session, time to live in milliseconds, name of the engine, its
-- settings as JSON or '', whether it is an observer: a command that takes no work.
-- Begins a session, renews it, or ends it.
local session, key = ARGV[3], P .. 'sessions'
if ARGV[2] == 'end' then
    end_session(session)
    return { 'ended' }
end
if ARGV[2] == 'renew' and not is_alive(session) then return { 'lapsed' } end
call('ZADD', key, now() + tonumber(ARGV[4]), session)
if ARGV[2] == 'begin' then
    call('HSET', P .. 'engines', session, ARGV[5])
    if ARGV[6] ~= '' then call('HSET', P .. 'settings', session, ARGV[6]) end
    if ARGV[7] == '1' then call('SADD', P .. 'observers', session) end
    -- By this, an export knows that nobody has used the store meanwhile.
    call('HINCRBY', META, 'begun', 1)
end
-- When the store was found to have lost writes, for the last time.
return { 'alive', text(now()), call('HGET', META, 'lost_time') or '0' }
