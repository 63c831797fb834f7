-- The lanes that hold waiting jobs. KEYS: root. ARGV: events kept.
return redis.call('SMEMBERS', root .. 'lanes')
