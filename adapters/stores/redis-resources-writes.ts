import {
  ADMISSION,
  GROUP_KEYS,
  GROUP_RECORD,
  IN_CHUNKS,
  LOADED_ROWS,
  NOW,
  ROWS,
  STEP_ROWS,
} from "./redis-resources-lua.ts";
import { redisScript } from "./redis-script.ts";

/** `decideDesired`. Arguments: group, epoch, mark, desired, nonce, the generation that it has to be, which may be empty. */
export const SET_DESIRED = redisScript(
  GROUP_KEYS,
  GROUP_RECORD,
  ADMISSION,
  `
local desired = redis.call('HGET', GROUP, 'desired')
if (group.generation > 0) ~= (desired ~= false) then return CORRUPT end
local isExpected = ARGV[6] == '' or tonumber(ARGV[6]) == group.generation
local isSet
if isExpected then isSet = desired == ARGV[4] else isSet = redis.call('HGET', GROUP, 'desiredNonce') == ARGV[5] end
if isExpected and not isSet then
  group.generation = group.generation + 1
  saveGroup()
  redis.call('HSET', GROUP, 'desired', ARGV[4], 'desiredNonce', ARGV[5])
elseif isChanged then
  saveGroup()
end
return { (isExpected or isSet) and 'set' or 'conflict', isNew and 'new' or 'old', text(group.generation) }
`,
);

/** `decideBeats`. Arguments: group; then for each beat an id and an incarnation, which is empty for the newest. */
export const HEARTBEAT = redisScript(
  GROUP_KEYS,
  NOW,
  GROUP_RECORD,
  IN_CHUNKS,
  ROWS,
  LOADED_ROWS,
  `
local answers = { 'decided' }
local beaten, isBeaten = {}, {}
local function statusOf(id, named)
  local known
  if named then known = load(memberOf(id, named)) else known = newest(id) end
  if known then
    if known.state == 'PENDING' or known.state == 'PROVISIONED' then return 'accepted', known end
    if known.state ~= 'TERMINATING' then return 'superseded' end
    local isNewest = not named or newestMember(id) == memberOf(id, named)
    return isNewest and 'accepted' or 'superseded', known
  end
  if not named then return 'missing' end
  local above = newest(id)
  local isPast = named < (above and above.incarnation or 0) or named <= (group and group.floor or 0)
  return isPast and 'superseded' or 'missing'
end
for i = 2, #ARGV, 2 do
  local status, row = statusOf(ARGV[i], tonumber(ARGV[i + 1]))
  if isBroken then return CORRUPT end
  answers[#answers + 1] = status
  if status == 'accepted' and not isBeaten[row] then
    isBeaten[row] = true
    beaten[#beaten + 1] = row
  end
end
local packed, silent = {}, {}
for _, row in ipairs(beaten) do
  local member = memberOf(row.id, row.incarnation)
  -- Also where it is before the last beat: a clock that was ahead must not keep the row fresh for ever.
  row.beatAt = nowMs
  packed[#packed + 1] = member
  packed[#packed + 1] = pack(row)
  if row.state == 'PROVISIONED' then
    silent[#silent + 1] = text(nowMs)
    silent[#silent + 1] = member
  end
end
inChunks('HSET', ROWS, packed)
inChunks('ZADD', SILENT, silent)
return answers
`,
);

/**
 * Deletes tombstones, and keeps the highest of their incarnations in the same step. Arguments: group, age, how many, and how
 * many of the oldest to pass over. Answers how many it deleted and passed over, and whether there may be more. What can't be read stays.
 */
export const PURGE = redisScript(
  GROUP_KEYS,
  NOW,
  GROUP_RECORD,
  IN_CHUNKS,
  ROWS,
  `
if not group then return { 'purged', '0', '0', 'done' } end
local age, passed = tonumber(ARGV[2]), tonumber(ARGV[4])
local take = math.min(tonumber(ARGV[3]), ${STEP_ROWS})
local latest = string.format('%.17g', nowMs - age)
local found = redis.call('ZRANGEBYSCORE', ENDED, '-inf', latest, 'LIMIT', passed, take)
local old, floor = {}, group.floor
for _, member in ipairs(found) do
  local packed = redis.call('HGET', ROWS, member)
  local row = packed and parse(member, packed)
  if row and row.state == 'TERMINATED' and nowMs - row.changedAt >= age then
    old[#old + 1] = member
    floor = math.max(floor, row.incarnation)
  else
    passed = passed + 1
  end
end
inChunks('HDEL', ROWS, old)
inChunks('HDEL', SPECS, old)
inChunks('ZREM', ORDER, old)
inChunks('ZREM', CHANGES, old)
inChunks('ZREM', ENDED, old)
-- Last: a server that is full lets a script delete, and lets one that has begun to write go on.
if floor ~= group.floor then redis.call('HSET', GROUP, 'floor', text(floor)) end
return { 'purged', text(#old), text(passed), #found == take and 'more' or 'done' }
`,
);

/** Puts a group's name among those that {@link GROUP_NAMES} tells. Argument: group. */
export const REGISTER_GROUP = redisScript(`
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'zset' then return { 'corrupt' } end
redis.call('ZADD', KEYS[1], '0', ARGV[1])
return { 'registered' }
`);
