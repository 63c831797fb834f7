-- Put the notification of a waiting job into its queue (again).
-- KEYS: root, notification list. ARGV: events kept, id, message, 1 for the front. Answers 1 when it was announced.
local id, message, front = ARGV[2], ARGV[3], ARGV[4] == '1'

local f = redis.call('HMGET', key('job', id), 'state', 'not_before')
-- A retry that waits is in no priority queue: `due` is all that will ever announce it, and its notification
-- would be refused now.
if f[1] == 'queued' and f[2] then return 0 end
redis.call('ZREM', root .. 'due', id)
if f[1] ~= 'queued' then return 0 end
redis.call('HSET', key('job', id), stored.notified, now)
-- Workers pop from the right.
redis.call(front and 'RPUSH' or 'LPUSH', KEYS[2], message)
return 1
