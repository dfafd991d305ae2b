-- ARGV: is a retry, field.
return call('HGET', META, ARGV[2])
