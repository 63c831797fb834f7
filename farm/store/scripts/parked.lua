-- Parked jobs, oldest first. KEYS: root. ARGV: events kept, order to begin behind, most jobs.
-- Answers the fields of each, as a flat list that begins with its id.
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', root .. 'parked', '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  local fields = redis.call('HGETALL', key('job', id))
  if #fields > 0 then
    table.insert(fields, 1, id)
    found[#found + 1] = fields
  else
    redis.call('ZREM', root .. 'parked', id)
  end
end
return found
