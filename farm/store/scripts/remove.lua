-- Remove a job that has ended. KEYS: root. ARGV: events kept, id.
-- Answers the state that it was in, or '' for no job; one that has not ended stays. That its files are to go is
-- noted in the same move: the storage may be away, and without a record nobody would find them.
local job = load(ARGV[2])
if not job then return '' end
if redis.call('ZSCORE', root .. 'finished', job.id) then
  remove(job)
  redis.call('ZADD', root .. 'removed', now, job.id)
end
return job.state
