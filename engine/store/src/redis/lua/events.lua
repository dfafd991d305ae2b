-- ARGV: is a retry, id, first number, last number.
if call('EXISTS', deployment_key(ARGV[2])) == 0 then return false end
return call('LRANGE', events_key(ARGV[2]), ARGV[3], ARGV[4])
