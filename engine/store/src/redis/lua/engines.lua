-- ARGV: is a retry. The living engines: of each its name, and how many deployments it drives.
local found = {}
for _, session in ipairs(living_sessions()) do
    found[#found + 1] = call('HGET', P .. 'engines', session) or session
    found[#found + 1] = call('SCARD', P .. 'own:' .. session)
end
return found
