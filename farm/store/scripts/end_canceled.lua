-- The worker has stopped a job whose cancel was requested. KEYS: root. ARGV: events kept, id, attempt.
local id, attempt = ARGV[2], ARGV[3]

local job = load(id)
if not job then return 'lost' end
-- Also when another last word of this attempt (a result, say) found the request first.
if job.state == 'canceled' and job.attempt == tonumber(attempt) then return 'ok' end
if not holds(job, attempt) or not job.cancel then return 'lost' end
note(job, 'canceled')
finish(job, 'canceled', {worker = job.worker})
return 'ok'
