import { onSortedSet } from "./redis-script.ts";

/**
 * What the scripts of resources have in common. Numbers travel and rest as decimal texts, since `tostring` and cjson of Lua
 * keep 14 digits of them; doubles hold every whole number that the contract knows.
 */

/**
 * Names the keys, and stops where one is lost that belongs to others, or is of a type that this version never made of it:
 * before anything is read or written.
 */
export const GROUP_KEYS = `
${onSortedSet(4)}
local GROUP, ROWS, SPECS, ORDER, CHANGES, SILENT, ENDED, FENCES = unpack(KEYS)
local CORRUPT = { 'corrupt' }
local function text(number) return string.format('%.0f', number) end
local has = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  has[i] = kind ~= 'none'
  if has[i] and kind ~= ((i <= 3 or i == 8) and 'hash' or 'zset') then return CORRUPT end
end
-- Rows are in both of their indexes, and in a group: its record is never made over, nor its rows.
if has[2] ~= has[4] or has[2] ~= has[5] or (has[2] and not has[1]) then return CORRUPT end
`;

/** One moment for all of a script, in whole milliseconds, and in microseconds for tokens. */
export const NOW = `
local time = redis.call('TIME')
local nowUs = tonumber(time[1]) * 1000000 + tonumber(time[2])
local nowMs = math.floor(nowUs / 1000)
`;

/** Reads the record of the group that is named by the first argument: nothing where there is none. */
export const GROUP_RECORD = `
local TOP = 9007199254740991
local function whole(digits)
  local number = string.match(digits or '', '^%d+$') and tonumber(digits)
  if number and number <= TOP then return number end
end
local group
if has[1] then
  local stored = redis.call('HMGET', GROUP,
    'format', 'group', 'mark', 'epoch', 'generation', 'sequence', 'floor', 'token')
  group = {
    mark = stored[3], epoch = whole(stored[4]), generation = whole(stored[5]), sequence = whole(stored[6]),
    floor = whole(stored[7]), token = whole(stored[8]),
  }
  if stored[1] ~= '1' or stored[2] ~= ARGV[1] or not group.mark or string.find(group.mark, ':', 1, true)
    or not (group.epoch and group.generation and group.sequence and group.floor and group.token) then
    return CORRUPT
  end
end
`;

/** Lets a writer of the second argument's epoch in, to a group with the third one's mark where there was none. */
export const ADMISSION = `
local isNew = not group
local isChanged = isNew
local epoch = tonumber(ARGV[2])
if isNew then
  group = { mark = ARGV[3], epoch = epoch, generation = 0, sequence = 0, floor = 0, token = 0 }
elseif epoch < group.epoch then
  return { 'fenced', text(group.epoch) }
elseif epoch > group.epoch then
  group.epoch = epoch
  isChanged = true
end
local function saveGroup()
  redis.call('HSET', GROUP, 'format', '1', 'group', ARGV[1], 'mark', group.mark, 'epoch', text(group.epoch),
    'generation', text(group.generation), 'sequence', text(group.sequence), 'floor', text(group.floor),
    'token', text(group.token))
end
`;

/**
 * Compares the fences of a batch with what was seen in those parts of the group: pairs of a name and an epoch, so many as the
 * sixth argument says, from the seventh on. `higher` has what was seen of those that are too low, by their places, and `raised`
 * what is to be stored of the others. The group's record says that it has fences, so that nobody takes lost ones for none.
 */
export const FENCE_CHECKS = `
local fences = tonumber(ARGV[6])
local higher, raised = {}, {}
if FENCES then
  if has[8] ~= (redis.call('HGET', GROUP, 'fences') == '1') then return CORRUPT end
  local seen = {}
  for i = 1, has[8] and fences or 0, 2000 do
    local names = {}
    for j = i, math.min(i + 1999, fences) do names[#names + 1] = ARGV[5 + 2 * j] end
    for _, stored in ipairs(redis.call('HMGET', FENCES, unpack(names))) do seen[#seen + 1] = stored end
  end
  for i = 1, fences do
    local highest = seen[i] and whole(seen[i])
    if seen[i] and not highest then return CORRUPT end
    local epoch = tonumber(ARGV[6 + 2 * i])
    if highest and highest > epoch then
      higher[i] = highest
    elseif highest ~= epoch then
      raised[#raised + 1] = ARGV[5 + 2 * i]
      raised[#raised + 1] = text(epoch)
    end
  end
end
local function saveFences()
  if #raised == 0 then return end
  inChunks('HSET', FENCES, raised)
  if not has[8] then redis.call('HSET', GROUP, 'fences', '1') end
end
`;

/** Calls a command with many arguments, in calls of as many as fit Lua's stack. */
export const IN_CHUNKS = `
local function inChunks(command, key, arguments)
  for i = 1, #arguments, 2000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 1999, #arguments)))
  end
end
`;

/**
 * Packs and reads rows: a line of numbers and lengths, then the texts one after the other. Of a row that this version did not
 * write, that was cut, or that stands in another's place, `parse` gives nothing.
 */
export const ROWS = `
local STATES = { PENDING = true, PROVISIONED = true, FAILED = true, TERMINATING = true, TERMINATED = true }
local LAYOUT = '^1 (%u+)' .. string.rep(' (%d+)', 6) .. string.rep(' ([%d-]+)', 3)
  .. string.rep(' (%d+)', 4) .. string.rep(' ([%d-]+)', 3) .. '\\n()'
local function memberOf(id, incarnation) return id .. '\\0' .. string.format('%016.0f', incarnation) end
local function orDash(number) return number and string.format('%.0f', number) or '-' end
local function pack(row)
  row.packed = string.format('1 %s %.0f %.0f %.0f %.0f %.0f %.0f %s %s %s %.0f %.0f %d %d %s %s %s\\n',
    row.state, row.incarnation, row.generation, row.attempt, row.token, row.createdAt, row.changedAt,
    orDash(row.provisionedAt), orDash(row.beatAt), orDash(row.leaseAt), row.version, row.sequence,
    #row.id, #row.nonce, orDash(row.specLength), orDash(row.externalId and #row.externalId),
    orDash(row.reason and #row.reason)) .. row.id .. row.nonce .. (row.externalId or '') .. (row.reason or '')
  return row.packed
end
local function parse(member, packed)
  local found = { string.match(packed, LAYOUT) }
  local at = found[18]
  if not at or not STATES[found[1]] then return nil end
  for i = 2, 17 do
    if found[i] == '-' then
      found[i] = false
    else
      local number = tonumber(found[i])
      if not number or number < 0 or number > 9007199254740991 then return nil end
      found[i] = number
    end
  end
  local idEnd = at + found[13]
  local nonceEnd = idEnd + found[14]
  local externalIdEnd = nonceEnd + (found[16] or 0)
  local reasonEnd = externalIdEnd + (found[17] or 0)
  local id = string.sub(packed, at, idEnd - 1)
  if reasonEnd ~= #packed + 1 or memberOf(id, found[2]) ~= member then return nil end
  return {
    packed = packed, state = found[1], incarnation = found[2], generation = found[3], attempt = found[4],
    token = found[5], createdAt = found[6], changedAt = found[7], provisionedAt = found[8], beatAt = found[9],
    leaseAt = found[10], version = found[11], sequence = found[12], specLength = found[15],
    id = id, nonce = string.sub(packed, idEnd, nonceEnd - 1),
    externalId = found[16] and string.sub(packed, nonceEnd, externalIdEnd - 1),
    reason = found[17] and string.sub(packed, externalIdEnd, reasonEnd - 1),
  }
end
local function silentSince(row) return row.beatAt or row.provisionedAt or row.createdAt end
local function newestMember(id)
  return redis.call('ZREVRANGEBYLEX', ORDER, '(' .. id .. '\\0:', '(' .. id .. '\\0', 'LIMIT', 0, 1)[1]
end
`;

/**
 * Loads rows as they were before the script, each once; `rows` is where a script puts what it makes of them. `isBroken` is set
 * where one can't be read: such a script ends without having written anything.
 */
export const LOADED_ROWS = `
local rows = {}
local isBroken = false
local function load(member)
  if rows[member] == nil then
    local packed = redis.call('HGET', ROWS, member)
    local row = packed and parse(member, packed)
    if packed and not row then isBroken = true end
    rows[member] = row or false
  end
  return rows[member] or nil
end
local newestOf = {}
local function newest(id)
  if newestOf[id] == nil then newestOf[id] = newestMember(id) or false end
  local member = newestOf[id]
  if not member then return nil end
  local row = load(member)
  if not row then isBroken = true end
  return row
end
`;

/** Rows and bytes after which a reading script stops, and its client goes on: nobody else waits for long. */
export const STEP_ROWS = 1_000;
const STEP_BYTES = 4 * 1_024 * 1_024;

/**
 * Collects rows for an answer, each with its spec. One that can't be read, or is not there, ends a script: who took it for absent
 * would make it a second time.
 */
export const ANSWERED_ROWS = `
local answered = {}
local bytes = 0
local function readable(member)
  local packed = redis.call('HGET', ROWS, member)
  return packed and parse(member, packed)
end
local function answer(member, row)
  local spec = false
  if row.specLength then
    spec = redis.call('HGET', SPECS, member)
    if not spec or #spec ~= row.specLength then return false end
    bytes = bytes + #spec
  end
  bytes = bytes + #row.packed
  answered[#answered + 1] = row.packed
  answered[#answered + 1] = spec
  return true
end
local function isEnough(walked) return walked >= ${STEP_ROWS} or bytes >= ${STEP_BYTES} end
local function reply(...)
  local all = { ... }
  for _, each in ipairs(answered) do all[#all + 1] = each end
  return all
end
`;
