-- Remove a job that has ended. KEYS: root. ARGV: events kept, id.
-- Answers the state that it was in, or '' for no job; one that has not ended stays.
local job = load(ARGV[2])
if not job then return '' end
if redis.call('ZSCORE', root .. 'finished', job.id) then remove(job) end
return job.state
