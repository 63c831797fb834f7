-- Put the bell of a waiting job into its queue (again).
-- KEYS: root, bell list. ARGV: events kept, id, message, 1 for the front. Answers 1 when it was rung.
local id, message, front = ARGV[2], ARGV[3], ARGV[4] == '1'

redis.call('ZREM', root .. 'due', id)
if redis.call('HGET', key('job', id), 'state') ~= 'queued' then return 0 end
redis.call('HSET', key('job', id), 'rung', now)
-- Workers pop from the right.
redis.call(front and 'RPUSH' or 'LPUSH', KEYS[2], message)
return 1
