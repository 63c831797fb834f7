-- A page of jobs, newest first. KEYS: root. ARGV: events kept, 'records' or 'ids', state or '', label or '',
-- highest order (as ZRANGEBYSCORE takes it), lowest order, most jobs.
-- Answers {order to go on below, or '', each job ...}: its id, or a flat list of its fields that begins with it.
local what, state, label, highest, lowest, limit = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

local function newest(index, count)
  return redis.call('ZREVRANGEBYSCORE', index, highest, lowest, 'WITHSCORES', 'LIMIT', 0, count)
end

local function pairs_of(flat)
  local found = {}
  for i = 1, #flat, 2 do found[#found + 1] = {id = flat[i], at = flat[i + 1]} end
  return found
end

-- There is no index of all jobs: it would cost each of them 100 bytes to save this merge.
local function of_any_state()
  local found = {}
  for _, each in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'}) do
    for _, job in ipairs(pairs_of(newest(key('state', each), limit + 1))) do found[#found + 1] = job end
  end
  table.sort(found, function(a, b) return tonumber(a.at) > tonumber(b.at) end)
  return found
end

local function of_both(one, other)
  if redis.call('ZCARD', other) < redis.call('ZCARD', one) then one, other = other, one end
  local found = {}
  local scanned = pairs_of(newest(one, limit * 10))
  for _, job in ipairs(scanned) do
    if #found <= limit and redis.call('ZSCORE', other, job.id) then found[#found + 1] = job end
  end
  return found, scanned
end

local found, scanned
if state ~= '' and label ~= '' then
  found, scanned = of_both(key('state', state), key('label', label))
elseif label ~= '' then
  found = pairs_of(newest(key('label', label), limit + 1))
elseif state ~= '' then
  found = pairs_of(newest(key('state', state), limit + 1))
else
  found = of_any_state()
end

local answer = {''}
for i = 1, math.min(limit, #found) do
  if what == 'ids' then
    answer[#answer + 1] = found[i].id
  else
    local fields = redis.call('HGETALL', key('job', found[i].id))
    table.insert(fields, 1, found[i].id)
    answer[#answer + 1] = fields
  end
end
if #found > limit then
  answer[1] = found[limit].at
elseif scanned and #scanned == limit * 10 then
  answer[1] = scanned[#scanned].at
end
return answer
