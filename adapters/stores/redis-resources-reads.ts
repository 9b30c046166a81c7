import { ANSWERED_ROWS, GROUP_KEYS, GROUP_RECORD, NOW, ROWS } from "./redis-resources-lua.ts";
import { onSortedSet, redisScript } from "./redis-script.ts";

/** `desiredOf`. Argument: group. */
export const GET_DESIRED = redisScript(
  GROUP_KEYS,
  GROUP_RECORD,
  `
if not group then return { 'desired', '0', '0', false, false } end
local desired, status = unpack(redis.call('HMGET', GROUP, 'desired', 'status'))
if (group.generation > 0) ~= (desired ~= false) then return CORRUPT end
return { 'desired', text(group.generation), text(group.epoch), desired, status }
`,
);

/** The newest incarnation. Argument: id. */
export const GET = redisScript(
  GROUP_KEYS,
  NOW,
  ROWS,
  ANSWERED_ROWS,
  `
local member = newestMember(ARGV[1])
if not member then return { 'missing' } end
local row = readable(member)
if not row or not answer(member, row) then return CORRUPT end
return reply('row', text(nowMs))
`,
);

/**
 * Rows in their order. Arguments: where to begin, how many at most, and `all`, or `only` and the states that are wanted.
 * Answers where to go on, unless it is at the end or has all that was asked.
 */
export const LIST = redisScript(
  GROUP_KEYS,
  NOW,
  ROWS,
  ANSWERED_ROWS,
  `
local from, limit = ARGV[1], tonumber(ARGV[2])
local wanted = ARGV[3] == 'only' and {} or nil
for i = 4, #ARGV do wanted[ARGV[i]] = true end
local taken, walked = 0, 0
if redis.call('HLEN', ROWS) ~= redis.call('ZCARD', ORDER) then return CORRUPT end
while true do
  local found = redis.call('ZRANGEBYLEX', ORDER, from, '+', 'LIMIT', 0, 100)
  for _, member in ipairs(found) do
    if taken == limit then return reply('rows', text(nowMs), false) end
    if isEnough(walked) then return reply('rows', text(nowMs), from) end
    local packed = redis.call('HGET', ROWS, member)
    -- The state alone costs a twentieth of the row.
    local state = packed and string.match(packed, '^1 (%u+) ')
    if not state or not STATES[state] then return CORRUPT end
    if not wanted or wanted[state] then
      local row = parse(member, packed)
      if not row or not answer(member, row) then return CORRUPT end
      taken = taken + 1
    end
    walked = walked + 1
    from = '(' .. member
  end
  if #found < 100 then return reply('rows', text(nowMs), false) end
end
`,
);

/**
 * `changesStart` and the rows behind it. Arguments: group, cursor (`:0` for none), how many at most, and the number of the write
 * at which to stop, empty for the last one there is: an answer that takes several steps is of the moment of the first.
 * Answers whether it began anew, the cursor, where to stop, and whether there is more to come.
 */
export const CHANGED_SINCE = redisScript(
  GROUP_KEYS,
  NOW,
  GROUP_RECORD,
  ROWS,
  ANSWERED_ROWS,
  `
local mark, digits = string.match(ARGV[2], '^([^:]*):(%d+)$')
if digits and (#digits > 16 or string.find(digits, '^0.')) then mark = nil end
local sequence, isReset = 0, 'reset'
if ARGV[2] == ':0' then
  isReset = 'continued'
elseif mark and group and mark == group.mark and tonumber(digits) <= group.sequence then
  sequence, isReset = tonumber(digits), 'continued'
end
local limit, last = tonumber(ARGV[3]), tonumber(ARGV[4])
if not last or isReset == 'reset' then last = group and group.sequence or 0 end
local taken, walked, state = 0, 0, nil
if redis.call('HLEN', ROWS) ~= redis.call('ZCARD', CHANGES) then return CORRUPT end
while not state do
  local found = redis.call('ZRANGEBYSCORE', CHANGES, '(' .. text(sequence), text(last), 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #found, 2 do
    if taken == limit then state = 'done' break end
    if isEnough(walked) then state = 'more' break end
    local row = readable(found[i])
    sequence = tonumber(found[i + 1])
    if not row or row.sequence ~= sequence or not answer(found[i], row) then return CORRUPT end
    taken = taken + 1
    walked = walked + 1
  end
  if not state and #found < 200 then state = 'done' end
end
return reply('rows', text(nowMs), isReset, (group and group.mark or '') .. ':' .. text(sequence), text(last), state)
`,
);

/**
 * `staleAnswer`. Arguments: age, how many at most; then, to go on, the last sign of life and the member at which the step before
 * stopped. Answers in how long the one behind them is stale; then where to go on, unless it came to the end.
 */
export const STALE_BEFORE = redisScript(
  GROUP_KEYS,
  NOW,
  ROWS,
  ANSWERED_ROWS,
  `
local age, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local from = 0
if ARGV[3] then
  local score = redis.call('ZSCORE', SILENT, ARGV[4])
  if score and tonumber(score) == tonumber(ARGV[3]) then
    from = redis.call('ZRANK', SILENT, ARGV[4]) + 1
  else
    -- It has given a sign of life. Some of the same moment may come again, and none is passed over.
    from = redis.call('ZCOUNT', SILENT, '-inf', '(' .. ARGV[3])
  end
end
local taken, walked = 0, 0
while true do
  local found = redis.call('ZRANGE', SILENT, from, from + 49, 'WITHSCORES')
  for i = 1, #found, 2 do
    local member, since = found[i], tonumber(found[i + 1])
    local row = readable(member)
    if not row or row.state ~= 'PROVISIONED' then return CORRUPT end
    if taken == limit or nowMs - since <= age then
      local nextIn = math.min(math.max(0, since + age + 1 - nowMs), 9007199254740991)
      return reply('rows', text(nowMs), string.format('%.17g', nextIn), false, false)
    end
    if not answer(member, row) then return CORRUPT end
    taken = taken + 1
    walked = walked + 1
    if isEnough(walked) then return reply('rows', text(nowMs), false, found[i + 1], member) end
  end
  if #found < 100 then return reply('rows', text(nowMs), false, false, false) end
  from = from + 50
end
`,
);

/** Names of groups. Arguments: where to begin, how many at most. */
export const GROUP_NAMES = redisScript(
  onSortedSet(1),
  `
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'zset' then return { 'corrupt' } end
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
table.insert(names, 1, 'names')
return names
`,
);
