-- The word that lasts as long as this server's memory of the farm. KEYS: root.
-- ARGV: events kept, a word in case there is none, the word that the caller knows or '', ms for which
-- it is told that the memory was lost. Answers the word.
local fresh, known, told_ms = ARGV[2], ARGV[3], ARGV[4]

local epoch = redis.call('GET', root .. 'epoch')
if not epoch then
  epoch = fresh
  redis.call('SET', root .. 'epoch', epoch)
end
if known ~= '' and known ~= epoch then
  -- The first one to notice was closest to when it happened.
  redis.call('SET', root .. 'forgot', digits(now), 'NX', 'PX', told_ms)
end
return epoch
