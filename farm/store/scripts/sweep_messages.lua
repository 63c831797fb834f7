-- Drop messages of jobs that wait no more: canceled, expired, claimed by another message, forgotten.
-- Each would cost a worker a fetch and a refused claim, and ten thousand of them the next job two minutes.
-- KEYS: root, message lists. ARGV: events kept, most messages to drop. Answers how many were dropped.
--
-- Only what the next pops would take is looked at, up to the first message of a job that waits. What stands
-- behind it costs nobody anything but a look at the list, and is removed by sweep_priority_queue.
local left = tonumber(ARGV[2])

local function waits(message)
  local id = announced(message)
  -- What is no message of ours is the worker's to drop, which says so.
  return not id or redis.call('HGET', key('job', id), 'state') == 'queued'
end

local dropped = 0
for at = 2, #KEYS do
  local stale
  repeat
    stale = 0
    -- Workers pop from the right.
    local next_ones = redis.call('LRANGE', KEYS[at], -math.min(left, 100), -1)
    for i = #next_ones, 1, -1 do
      if waits(next_ones[i]) then break end
      stale = stale + 1
    end
    if stale > 0 then redis.call('LTRIM', KEYS[at], 0, -stale - 1) end
    left = left - stale
    dropped = dropped + stale
  until stale < 100 or left == 0
  if left == 0 then break end
end
return dropped
