-- ARGV: is a retry. The living engines: of each its name, how many deployments it drives, and its
-- settings as JSON, where it tells them.
local found = {}
for _, session in ipairs(living_engines()) do
    found[#found + 1] = call('HGET', P .. 'engines', session) or session
    found[#found + 1] = call('SCARD', P .. 'own:' .. session)
    found[#found + 1] = call('HGET', P .. 'settings', session) or ''
end
return found
