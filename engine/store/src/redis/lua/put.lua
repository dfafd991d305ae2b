-- ARGV: is a retry, hash, field, value.
call('HSET', P .. ARGV[2], ARGV[3], ARGV[4])
return { 'put' }
