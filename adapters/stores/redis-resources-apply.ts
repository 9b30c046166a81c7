import {
  ADMISSION,
  FENCE_CHECKS,
  GROUP_KEYS,
  GROUP_RECORD,
  IN_CHUNKS,
  LOADED_ROWS,
  NOW,
  ROWS,
} from "./redis-resources-lua.ts";
import { redisScript } from "./redis-script.ts";

/**
 * `decideApply`. Arguments: group, epoch, mark, whether there is a status, status; how many fences, and the name and the epoch of each;
 * then for each write what `redis-resources-rows.ts` makes of it. Answers what came of the writes in their order, and then the
 * places and epochs of fences that are too low. All is decided before anything is written, so that a batch with a row that can't be
 * read changes nothing. A row that was just made goes back without its spec, which the caller has.
 */
export const APPLY = redisScript(
  GROUP_KEYS,
  NOW,
  GROUP_RECORD,
  ADMISSION,
  IN_CHUNKS,
  FENCE_CHECKS,
  ROWS,
  LOADED_ROWS,
  `
local answers = { 'decided', isNew and 'new' or 'old', text(nowMs) }
local was, touched = {}, {}

local function put(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

local function specOf(row)
  if not row.specLength then return false end
  if row.spec then return row.spec end
  local spec = redis.call('HGET', SPECS, memberOf(row.id, row.incarnation))
  if not spec or #spec ~= row.specLength then isBroken = true end
  return spec
end

local function tell(status, row)
  answers[#answers + 1] = status
  answers[#answers + 1] = row and row.packed or false
  answers[#answers + 1] = row and status ~= 'made' and specOf(row) or false
end

local function save(row)
  local member = memberOf(row.id, row.incarnation)
  if was[member] == nil then
    was[member] = load(member) or false
    touched[#touched + 1] = member
  end
  rows[member] = row
  group.sequence = row.sequence
  isChanged = true
end

local function nextToken()
  group.token = math.max(group.token + 1, nowUs)
  return group.token
end

for i = 7 + 2 * fences, #ARGV, 6 do
  local fence, kind, state, generation, attempt, base, expected, silence, lease, grant, spec, externalId, reason =
    string.match(ARGV[i], '^(%d+) (%a+) (%u+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%a+) ([01])([01])([01])$')
  local fencedBy = higher[tonumber(fence)]
  local id, nonce = ARGV[i + 1], ARGV[i + 2]
  base, expected, silence, lease = tonumber(base), tonumber(expected), tonumber(silence), tonumber(lease)
  local isCreation = kind == 'create'
  local known
  if fencedBy then known = nil elseif isCreation then known = newest(id) else known = load(memberOf(id, base)) end
  if known and known.specLength and not known.spec and not isBroken
    and redis.call('HSTRLEN', SPECS, memberOf(id, known.incarnation)) ~= known.specLength then
    isBroken = true
  end
  if isBroken then return CORRUPT end

  local row
  if fencedBy then
    put(answers, 'fenced', text(fencedBy))
    answers[#answers + 1] = false
  elseif known and known.nonce == nonce and known.version == (isCreation and 1 or expected + 1) then
    tell('applied', known)
  elseif isCreation and (known and known.incarnation or 0) == base then
    row = {
      id = id, incarnation = math.max(base, group.floor) + 1, token = 0,
      createdAt = nowMs, changedAt = nowMs, version = 1,
    }
    local member = memberOf(id, row.incarnation)
    -- It can only be there where an index has lost it.
    if load(member) then return CORRUPT end
    newestOf[id] = member
  elseif not isCreation and known and known.version == expected
    and (not silence or nowMs - silentSince(known) > silence) then
    row = {
      id = id, incarnation = known.incarnation, token = known.token, createdAt = known.createdAt,
      changedAt = state == known.state and known.changedAt or nowMs,
      provisionedAt = known.provisionedAt, beatAt = known.beatAt, version = known.version + 1,
    }
  else
    tell('conflict', known)
  end
  if row then
    row.state, row.generation, row.attempt, row.nonce = state, tonumber(generation), tonumber(attempt), nonce
    row.spec = spec == '1' and ARGV[i + 3] or nil
    row.specLength = row.spec and #row.spec
    row.externalId = externalId == '1' and ARGV[i + 4] or nil
    row.reason = reason == '1' and ARGV[i + 5] or nil
    if state == 'PROVISIONED' and not row.provisionedAt then row.provisionedAt = nowMs end
    if lease then
      row.leaseAt = math.min(nowMs + lease, TOP)
      if grant == 'grant' then row.token = nextToken() end
    end
    row.sequence = group.sequence + 1
    pack(row)
    save(row)
    tell('made', row)
  end
  if isBroken then return CORRUPT end
end

for i = 1, fences do
  if higher[i] then put(answers, tostring(i), text(higher[i])) end
end

local packed, specs, unspecs, order, changes = {}, {}, {}, {}, {}
local silent, unsilent, ended, unended = {}, {}, {}, {}
for _, member in ipairs(touched) do
  local row, before = rows[member], was[member]
  put(packed, member, row.packed)
  put(changes, text(row.sequence), member)
  if row.spec then put(specs, member, row.spec) elseif before and before.specLength then put(unspecs, member) end
  if not before then put(order, '0', member) end
  if row.state == 'PROVISIONED' then put(silent, text(silentSince(row)), member)
  elseif before and before.state == 'PROVISIONED' then put(unsilent, member) end
  if row.state == 'TERMINATED' then put(ended, text(row.changedAt), member)
  elseif before and before.state == 'TERMINATED' then put(unended, member) end
end
if isChanged then saveGroup() end
if ARGV[4] == '1' then redis.call('HSET', GROUP, 'status', ARGV[5]) end
saveFences()
inChunks('HSET', ROWS, packed)
inChunks('HSET', SPECS, specs)
inChunks('HDEL', SPECS, unspecs)
inChunks('ZADD', ORDER, order)
inChunks('ZADD', CHANGES, changes)
inChunks('ZADD', SILENT, silent)
inChunks('ZREM', SILENT, unsilent)
inChunks('ZADD', ENDED, ended)
inChunks('ZREM', ENDED, unended)
return answers
`,
);
