-- Store a job as queued and announce it.
-- KEYS: root, notification list. ARGV: events kept, id, head, spec, message, priority queue, deadline or '',
-- name of the idempotency key or '', digests of the spec (ours, and that of farms before), why it is parked
-- or '', the job whose result it takes or '', label...
-- Answers {'created' | 'reused' | 'there' | 'conflict', id}.
local id, head, spec, message, priority_queue, deadline, idem, digests, parked, reuses =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]

if redis.call('EXISTS', key('job', id)) == 1 then return {'there', id} end
if idem ~= '' then
  local held = redis.call('GET', key('idem', idem))
  if held then
    local older, its_digest = held:match('^(%S+) (%S+)$')
    return {digests:find(its_digest, 1, true) and 'there' or 'conflict', older}
  end
  redis.call('SET', key('idem', idem), id .. ' ' .. digests:match('^%S+'))
end

-- Never twice the same and never less than the last one, whatever the server's clock does: first in,
-- first out within a batch, and a page of a listing can go on exactly where the last one ended.
local last = tonumber(redis.call('GET', root .. 'last') or 0)
local at = digits(math.max(clock[1] * 1000000 + clock[2], last + 1))
redis.call('SET', root .. 'last', at)

redis.call('HSET', key('job', id), 'state', 'queued', 'at', at, 'head', head, 'spec', spec)
redis.call('ZADD', key('state', 'queued'), at, id)
for i = 12, #ARGV do redis.call('ZADD', key('label', ARGV[i]), at, id) end
-- The caller has seen that the files are there; whether that job is still the one, only this moment knows.
if reuses ~= '' then
  local job = load(id)
  local f = redis.call('HMGET', key('job', reuses), 'state', 'result')
  if f[1] == 'succeeded' and redis.call('GET', key('content', job.head.c)) == reuses then
    set(job, 'result', f[2], 'reused', reuses)
    finish(job, 'succeeded', {reused_from = reuses})
    return {'reused', id}
  end
end

if deadline ~= '' then
  redis.call('HSET', key('job', id), 'deadline', deadline)
  redis.call('ZADD', root .. 'deadlines', deadline, id)
end
if parked ~= '' then
  -- In no priority queue and without a notification: nobody could do anything with it.
  redis.call('HSET', key('job', id), 'parked', parked)
  redis.call('ZADD', root .. 'parked', at, id)
else
  redis.call('ZADD', key(stored.priority_queue, priority_queue), at, id)
  redis.call('SADD', root .. stored.priority_queues, priority_queue)
  redis.call('LPUSH', KEYS[2], message)
end
return {'created', id}
