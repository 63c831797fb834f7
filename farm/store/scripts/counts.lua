-- How many jobs there are. KEYS: root. ARGV: events kept.
-- Answers {{state, count, ...}, {lane, count, ...}, how many are parked}.
local states, lanes = {}, {}
for _, state in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'}) do
  states[#states + 1] = state
  states[#states + 1] = redis.call('ZCARD', key('state', state))
end
for _, lane in ipairs(redis.call('SMEMBERS', root .. 'lanes')) do
  lanes[#lanes + 1] = lane
  lanes[#lanes + 1] = redis.call('ZCARD', key('lane', lane))
end
return {states, lanes, redis.call('ZCARD', root .. 'parked')}
