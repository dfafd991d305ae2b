-- ARGV: is a retry.
return { call('ZCARD', P .. 'open'), call('ZCARD', P .. 'i') }
