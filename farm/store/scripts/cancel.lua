-- Ask for the end of a job. KEYS: root. ARGV: events kept, id, reason. Answers the state, or '' for no job.
local id, reason = ARGV[2], ARGV[3]

local job = load(id)
if not job then return '' end
local function ask()
  set(job, 'cancel', 1)
  if reason ~= '' then set(job, 'cancel_reason', reason) end
end

if job.state == 'queued' then
  ask()
  finish(job, 'canceled', {reason = reason})
elseif job.state == 'running' then
  if not job.cancel then
    ask()
    tell(job, {worker = job.worker, cancel_requested = true, reason = reason})
  end
  -- For a worker that listens; one that does not is told at its next renewal.
  redis.call('PUBLISH', root .. 'control', id)
end
return job.state
