-- How many jobs there are. KEYS: root. ARGV: events kept.
-- Answers {{state, count, ...}, {lane, count, µs since its oldest job was submitted, ...}, how many are
-- parked, how many leases ran out and were not taken back yet}.
local states, lanes = {}, {}
for _, state in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'}) do
  states[#states + 1] = state
  states[#states + 1] = redis.call('ZCARD', key('state', state))
end
for _, lane in ipairs(redis.call('SMEMBERS', root .. 'lanes')) do
  lanes[#lanes + 1] = lane
  lanes[#lanes + 1] = redis.call('ZCARD', key('lane', lane))
  local oldest = redis.call('ZRANGE', key('lane', lane), 0, 0, 'WITHSCORES')
  lanes[#lanes + 1] = oldest[2] and math.max(clock[1] * 1000000 + clock[2] - tonumber(oldest[2]), 0) or 0
end
return {states, lanes, redis.call('ZCARD', root .. 'parked'), redis.call('ZCOUNT', root .. 'leases', '-inf', now)}
