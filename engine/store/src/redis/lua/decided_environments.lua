-- ARGV: is a retry.
local found = call('SUNION', P .. 'environments', P .. 'retiring')
table.sort(found)
return found
