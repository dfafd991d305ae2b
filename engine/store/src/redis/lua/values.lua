-- ARGV: is a retry, hash.
return call('HVALS', P .. ARGV[2])
