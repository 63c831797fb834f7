-- The worker has stopped a job whose cancel was requested. KEYS: root. ARGV: events kept, id, attempt, token.
local id, attempt, token = ARGV[2], ARGV[3], ARGV[4]

local job = load(id)
if not job then return 'lost' end
-- Also when another last word of this attempt (a result, say) found the request first.
if job.state == 'canceled' and job.attempt == tonumber(attempt) then return 'ok' end
if not holds(job, attempt, token) or not job.cancel then return 'lost' end
note(job, 'canceled')
finish(job, 'canceled', {worker = job.worker})
return 'ok'
