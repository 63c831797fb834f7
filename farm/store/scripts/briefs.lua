-- What matters of many jobs. KEYS: root. ARGV: events kept, ids.
-- Answers for each four things: state ('' for no job), order, priority, 1 if it is parked or paused.
local answer = {}
for i = 2, #ARGV do
  local found = redis.call('HMGET', key('job', ARGV[i]), 'state', 'at', 'head', 'parked', 'paused')
  answer[#answer + 1] = found[1] or ''
  answer[#answer + 1] = found[2] or ''
  -- To decode the head would take as long as all the rest. Within a text of it a quote is escaped.
  answer[#answer + 1] = tonumber((found[3] or ''):match('"p":(%d+)') or -1)
  answer[#answer + 1] = (found[4] or found[5]) and 1 or 0
end
return answer
