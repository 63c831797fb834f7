-- The succeeded job that made each content last. KEYS: root. ARGV: events kept, content...
-- Answers {content, fields of the job, content, ...}; the fields are a flat list that begins with its id.
local found = {}
for i = 2, #ARGV do
  local id = redis.call('GET', key('content', ARGV[i]))
  local fields = id and redis.call('HGETALL', key('job', id)) or {}
  if #fields > 0 then
    table.insert(fields, 1, id)
    found[#found + 1] = ARGV[i]
    found[#found + 1] = fields
  end
end
return found
