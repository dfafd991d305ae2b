-- ARGV: is a retry, session, count. The open deployments whose leases are the session's, if they are
-- more than the count.
local own = P .. 'own:' .. ARGV[2]
if call('SCARD', own) <= tonumber(ARGV[3]) then return {} end
return call('SMEMBERS', own)
