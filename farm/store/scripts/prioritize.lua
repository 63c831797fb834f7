-- Move a waiting job to another priority, in front of those that wait there.
-- KEYS: root, notification list. ARGV: events kept, id, message, priority. Answers its state, or '' for no job.
local job = load(ARGV[2])
if not job then return '' end
if job.state ~= 'queued' or job.head.p == tonumber(ARGV[4]) then return job.state end
local waits = redis.call('ZREM', key(stored.priority_queue, priority_queue_of(job)), job.id) == 1
-- As text: cjson would write the head otherwise than Python did.
job.raw_head = job.raw_head:gsub('"p":%d+', '"p":' .. ARGV[4], 1)
job.head.p = tonumber(ARGV[4])
set(job, 'head', job.raw_head)
tell(job, {reason = 'priority ' .. ARGV[4]})
-- Where its older message would let it run before its turn, the claim is refused: see claim.lua.
if waits then notify_now(job, KEYS[2], ARGV[3]) end
return job.state
