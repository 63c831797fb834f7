-- The priority queues that hold waiting jobs. KEYS: root. ARGV: events kept.
return redis.call('SMEMBERS', root .. stored.priority_queues)
