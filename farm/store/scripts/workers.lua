-- The cards of all workers that live. KEYS: root. ARGV: events kept. Answers {{name, card}, ...}.
local cards = {}
for _, name in ipairs(redis.call('SMEMBERS', root .. 'workers')) do
  local card = redis.call('GET', key('worker', name))
  if card then cards[#cards + 1] = {name, card} else redis.call('SREM', root .. 'workers', name) end
end
return cards
