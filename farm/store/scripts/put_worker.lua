-- Keep what a worker says of itself for a while. KEYS: root. ARGV: events kept, name, status, ms.
redis.call('SET', key('worker', ARGV[2]), ARGV[3], 'PX', ARGV[4])
redis.call('SADD', root .. 'workers', ARGV[2])
return 1
