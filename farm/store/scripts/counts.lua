-- How many jobs there are. KEYS: root. ARGV: events kept.
-- Answers {{state, count, ...}, {priority queue, count, µs since its oldest job was submitted, ...}, how many are
-- parked, how many leases ran out and were not taken back yet}.
local states, sizes = {}, {}
for _, state in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'}) do
  states[#states + 1] = state
  states[#states + 1] = redis.call('ZCARD', key('state', state))
end
for _, priority_queue in ipairs(redis.call('SMEMBERS', root .. stored.priority_queues)) do
  sizes[#sizes + 1] = priority_queue
  sizes[#sizes + 1] = redis.call('ZCARD', key(stored.priority_queue, priority_queue))
  local oldest = redis.call('ZRANGE', key(stored.priority_queue, priority_queue), 0, 0, 'WITHSCORES')
  sizes[#sizes + 1] = oldest[2] and math.max(clock[1] * 1000000 + clock[2] - tonumber(oldest[2]), 0) or 0
end
return {states, sizes, redis.call('ZCARD', root .. 'parked'), redis.call('ZCOUNT', root .. 'leases', '-inf', now)}
