import { LOAD_LUA } from "./redis-execution-record.ts";
import { ON_TEXT, onSortedSet, type RedisScript, redisScript, TIME_LUA } from "./redis-script.ts";

/** Forgets what has expired in a bucket: `index` is its index. What can't be read stays. */
export const PRUNE_LUA = `
local function prune(index, limit, but)
  local purged = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', str(now), 'LIMIT', 0, limit)) do
    if id ~= but then
      local base = string.sub(index, 1, -6)
      local key = base .. 'x:' .. id
      local r, wrong = load(key)
      if r and r.e > now then
        redis.call('ZADD', index, str(r.e), id)
      else
        redis.call('ZREM', index, id)
        if not wrong then
          redis.call('DEL', key, base .. 's:' .. id)
          purged = purged + 1
        end
      end
    end
  end
  return purged
end
`;

/** KEYS: record. */
const GET = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  `
local r, wrong = load(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
return {'found', str(now), r.raw}
`,
);

/**
 * Looks at a record of the bucket whose index is the first key. Outcomes may be large, so only the beginning is read; nothing is
 * answered for what has expired, can't be read, or is of another operation than the one behind `=`.
 */
const GLANCE_LUA = `
local base = string.sub(KEYS[1], 1, -6) .. 'x:'
local function glance(id, operation)
  local raw = redis.pcall('GETRANGE', base .. id, 0, 2047)
  if type(raw) == 'table' then return nil end
  local r = parse(raw, id, true)
  if not r or r.e <= now then return nil end
  if operation ~= '' and (r.o ~= #operation - 1 or string.sub(raw, r.texts, r.texts + r.o - 1) ~= string.sub(operation, 2)) then
    return nil
  end
  return r
end
`;

/** KEYS: index of a bucket. ARGV: after, limit, =operation, status. What can't be read is left out. */
const LIST = redisScript(
  onSortedSet(1),
  TIME_LUA,
  LOAD_LUA,
  GLANCE_LUA,
  `
local limit, operation, status = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local function asked(id)
  local r = glance(id, operation)
  if not r then return nil end
  local is = r.st == 'c' and 'completed' or r.x > now and 'running' or 'abandoned'
  if status ~= '' and status ~= is then return nil end
  local whole = load(base .. id)
  return whole and whole.raw
end
local ids = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. str(now), '+inf')) do
  if id > ARGV[1] then ids[#ids + 1] = id end
end
table.sort(ids)
local found = {}
for _, id in ipairs(ids) do
  if #found >= limit then break end
  local raw = asked(id)
  if raw then found[#found + 1] = {id, str(now), raw} end
end
return found
`,
);

/** KEYS: index of a bucket. ARGV: how many. The ids of those that expire last, each with when that is. */
const LATEST = redisScript(
  onSortedSet(1),
  TIME_LUA,
  "return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. str(now), 'WITHSCORES', 'LIMIT', 0, ARGV[1])",
);

/** KEYS: index of a bucket. ARGV: =operation, and then ids. When each was created; empty for what {@link GLANCE_LUA} passes over. */
const CREATED = redisScript(
  onSortedSet(1),
  TIME_LUA,
  LOAD_LUA,
  GLANCE_LUA,
  `
local moments = {}
for i = 2, #ARGV do
  local r = glance(ARGV[i], ARGV[1])
  moments[#moments + 1] = r and r.c or ''
end
return moments
`,
);

/** KEYS: index of a bucket. How many of it have expired. */
const EXPIRED = redisScript(
  onSortedSet(1),
  TIME_LUA,
  "return {tostring(redis.call('ZCOUNT', KEYS[1], '-inf', str(now)))}",
);

/** KEYS: index of a bucket. ARGV: limit. */
const PURGE = redisScript(
  onSortedSet(1),
  TIME_LUA,
  LOAD_LUA,
  PRUNE_LUA,
  "return {tostring(prune(KEYS[1], tonumber(ARGV[1]), ''))}",
);

/** What reads many records or none for itself, and what forgets them. */
export const EXECUTION_READS = {
  get: GET,
  list: LIST,
  latest: LATEST,
  created: CREATED,
  expired: EXPIRED,
  purge: PURGE,
} as const satisfies Record<string, RedisScript>;
