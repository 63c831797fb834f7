-- Keep a place for one more job of a tenant, and use up an idempotency key.
-- KEYS: root. ARGV: events kept, tenant, ticket, most open jobs, most waiting jobs, name of the idempotency key
-- or '', how long that is kept (ms).
-- Answers {'in' | 'used' | 'full' | 'farm_full', open jobs of the tenant, waiting jobs of the farm}.
local tenant, ticket, once = ARGV[2], ARGV[3], ARGV[6]
local most_open, most_waiting = tonumber(ARGV[4]), tonumber(ARGV[5])
local open = key('open', tenant)
local waiting = redis.call('ZCARD', key('state', 'queued'))

if once ~= '' and redis.call('EXISTS', key('once', once)) == 1 then return {'used', 0, waiting} end
if waiting >= most_waiting then return {'farm_full', redis.call('ZCARD', open), waiting} end
if redis.call('ZCARD', open) >= most_open then
  -- Jobs end without a word to this set: only when it seems full is it looked through.
  for _, id in ipairs(redis.call('ZRANGE', open, 0, -1)) do
    local state = redis.call('HGET', key('job', id), 'state')
    -- A ticket whose gateway died is none of a job, and is worth a minute.
    local lives = state == 'queued' or state == 'running'
      or (not state and tonumber(redis.call('ZSCORE', open, id)) > now - 60000)
    if not lives then redis.call('ZREM', open, id) end
  end
  local count = redis.call('ZCARD', open)
  if count >= most_open then return {'full', count, waiting} end
end
redis.call('ZADD', open, now, ticket)
if once ~= '' then redis.call('SET', key('once', once), ticket, 'PX', ARGV[7]) end
return {'in', redis.call('ZCARD', open), waiting}
