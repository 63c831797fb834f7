-- Commit the result of an attempt. KEYS: root. ARGV: events kept, id, attempt, result as JSON, token, then names
-- and amounts that are added to the tally.
local id, attempt, result, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local job = load(id)
if not job then return 'lost' end
local earlier = answered(job, attempt, 'succeed', token)
if earlier then return earlier end
if not holds(job, attempt, token) then return 'lost' end
if job.cancel then
  note(job, 'canceled')
  finish(job, 'canceled', {worker = job.worker})
  return answer(job, 'succeed', 'canceled')
end
set(job, 'result', result, 'accepted', job.token)
clear(job, 'error', 'report')
note(job, 'succeeded')
if job.head.c then redis.call('SET', key('content', job.head.c), id) end
for i = 6, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
finish(job, 'succeeded', {worker = job.worker})
return answer(job, 'succeed', 'ok')
