-- ARGV: is a retry.
return call('ZRANGE', P .. 'open', 0, -1)
