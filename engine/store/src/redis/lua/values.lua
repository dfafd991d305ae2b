-- ARGV: is a retry, hash. Of each field: its name, its value.
return call('HGETALL', P .. ARGV[2])
