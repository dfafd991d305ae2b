-- ARGV: is a retry, hash, field.
return call('HGET', P .. ARGV[2], ARGV[3])
