-- ARGV: is a retry, hash, field.
return { call('HDEL', P .. ARGV[2], ARGV[3]) == 1 and 'removed' or 'missing' }
