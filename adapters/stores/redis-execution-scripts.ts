import { type RedisScript, redisScript } from "./redis-script.ts";

/**
 * A record is a hash. Its fields, in the order in which scripts read and `redis-rows.ts` expects them:
 * v format, o operation, s scope, k key, f fingerprint, a attempt, t token, n nonce, c created at, r retention, e expires at,
 * st status (r running, c completed), l lease expires at, g retry granted, b abandoned at, d completed at, ok kind of the
 * outcome, ob its bytes, i id, so that a record under another's key is found out.
 *
 * Numbers stay texts wherever they can: Lua would write 2^53 as 9.007e+15. What is computed is written by `str`.
 */
const PRELUDE = `
local FIELDS = {'v','o','s','k','f','a','t','n','c','r','e','st','l','g','b','d','ok','ob','i'}
local MOST = 9007199254740991
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)
local function str(n) return string.format('%.0f', n) end
local function whole(text, least)
  if not text or #text > 16 or not string.find(text, '^%d+$') then return nil end
  local n = tonumber(text)
  if n < least or n > MOST then return nil end
  return n
end
local function after(moment, duration) return math.min(moment + tonumber(duration), MOST) end
local function corrupt(what) return {'corrupt', what} end
-- The record, or nothing, or nothing and what is wrong with it.
local function load(key)
  local h = redis.pcall('HMGET', key, unpack(FIELDS))
  if h.err then
    if string.find(h.err, 'WRONGTYPE', 1, true) then return nil, 'it is no hash' end
    error(h.err, 0)
  end
  if not h[1] then
    if redis.call('EXISTS', key) == 1 then return nil, 'it has no format' end
    return nil
  end
  if h[1] ~= '1' then return nil, 'it has an unknown format' end
  local r = {raw = h, o = h[2], s = h[3], k = h[4], f = h[5], n = h[8], st = h[12], g = h[14], ok = h[17], ob = h[18]}
  if h[19] ~= string.sub(key, -64) then return nil, 'it is that of another id' end
  r.a = whole(h[6], 1)
  r.t = whole(h[7], 1)
  r.c = whole(h[9], 0)
  r.r = whole(h[10], 0)
  r.e = whole(h[11], 0)
  if not (r.o and r.s and r.n and r.a and r.t and r.c and r.r and r.e) then return nil, 'a field is missing or malformed' end
  if r.st == 'r' then
    r.l = whole(h[13], 0)
    r.b = whole(h[15], 0)
    if not r.l or (r.g ~= '0' and r.g ~= '1') or (h[15] and not r.b) then return nil, 'its lease is malformed' end
  elseif r.st == 'c' then
    r.d = whole(h[16], 0)
    if not r.d or not r.ob or (r.ok ~= 'value' and r.ok ~= 'error' and r.ok ~= 'tombstone') then
      return nil, 'its outcome is malformed'
    end
  else
    return nil, 'its status is unknown'
  end
  return r
end
-- At its boundary a record has expired.
local function present(key)
  local r, wrong = load(key)
  if r and r.e <= now then return nil, nil, r end
  return r, wrong
end
-- A holder's scripts begin with HDEL: a server without memory refuses HSET only as a script's first write, and a claim that
-- runs must not be lost to that.
local function holds(r, token, nonce) return str(r.t) == token and r.n == nonce end
local function outcome(status, r)
  return {status, r.f, str(r.a), str(r.d), str(r.e - now), r.ok, r.ob}
end
local function steps(key, answer)
  local h = redis.pcall('HGETALL', key)
  if h.err then return corrupt('its steps are no hash') end
  for i = 1, #h do answer[#answer + 1] = h[i] end
  return answer
end
-- Redis forgets by itself what has expired; whether it has is judged by the record. After all other
-- writes: a moment that has passed removes the key at once.
local function keepUntil(moment)
  redis.call('PEXPIREAT', KEYS[1], str(moment))
  redis.call('PEXPIREAT', KEYS[2], str(moment))
  redis.call('ZADD', KEYS[3], str(moment), string.sub(KEYS[1], -64))
end
-- Nobody waits less safely because a hint may not be sent.
local function wake(channel) redis.pcall('PUBLISH', channel, '') end
`;

/** Forgets what has expired in a bucket: KEYS[index] of which is the index. What can't be read stays. */
const PRUNE = `
local function prune(index, limit, but)
  local due = redis.call('ZRANGEBYSCORE', index, '-inf', str(now), 'LIMIT', 0, limit)
  local base = string.sub(index, 1, -6)
  local purged = 0
  for _, id in ipairs(due) do
    if id ~= but then
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

/** KEYS: record, steps, index, token. ARGV: nonce, lease, retention, when abandoned, operation, scope, =key, =fingerprint. */
const CLAIM = redisScript(
  PRELUDE,
  PRUNE,
  `
local nonce, lease, retention = ARGV[1], ARGV[2], ARGV[3]
local r, wrong = present(KEYS[1])
if wrong then return corrupt(wrong) end
-- Digests of what is compared: how long it takes says nothing about what is stored.
if r and r.f and ARGV[8] ~= '' and redis.sha1hex(r.f) ~= redis.sha1hex(string.sub(ARGV[8], 2)) then return {'mismatch'} end
if r and r.st == 'c' then return outcome('completed', r) end
if r and r.n == nonce then
  if r.l <= now then
    r.l = after(now, lease)
    redis.call('HSET', KEYS[1], 'l', str(r.l), 'e', str(after(r.l, retention)))
    keepUntil(after(r.l, retention))
  end
  return steps(KEYS[2], {'acquired', str(r.a), str(r.t), str(r.l - now), r.b and str(r.b) or false})
end
if r and r.l > now then return {'running', str(r.a), str(r.l - now)} end
if r and ARGV[4] ~= 'takeover' and r.g == '0' then return steps(KEYS[2], {'abandoned', str(r.a), str(r.l)}) end
local last = redis.pcall('GET', KEYS[4])
if type(last) == 'table' then return corrupt('its fencing counter is no text') end
last = whole(last or '0', 0)
if not last then return corrupt('its fencing counter is no number') end
local token = math.max(us, last + 1, r and r.t + 1 or 0)
if token > MOST then return corrupt('its fencing counter has run out') end
local leaseExpiresAt = after(now, lease)
local expiresAt = after(leaseExpiresAt, retention)
local answer = {'acquired', str(r and r.a + 1 or 1), str(token), str(leaseExpiresAt - now), false}
-- First, since a server without memory refuses only what comes first: a claim that is refused leaves nothing behind.
redis.call('SET', KEYS[4], answer[3])
redis.call('ZADD', KEYS[3], str(expiresAt), string.sub(KEYS[1], -64))
if r then
  if r.g == '0' then answer[5] = str(r.l) end
  steps(KEYS[2], answer)
  redis.call('HDEL', KEYS[1], 'b')
else
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'v', '1', 'i', string.sub(KEYS[1], -64), 'c', str(now), 'st', 'r')
end
redis.call('HSET', KEYS[1], 'o', ARGV[5], 's', ARGV[6], 'a', answer[2], 't', answer[3], 'n', nonce, 'r', retention,
  'e', str(expiresAt), 'l', str(leaseExpiresAt), 'g', '0')
if answer[5] then redis.call('HSET', KEYS[1], 'b', answer[5]) end
if ARGV[7] ~= '' and not (r and r.k) then redis.call('HSET', KEYS[1], 'k', string.sub(ARGV[7], 2)) end
if ARGV[8] ~= '' and not (r and r.f) then redis.call('HSET', KEYS[1], 'f', string.sub(ARGV[8], 2)) end
keepUntil(expiresAt)
prune(KEYS[3], 2, string.sub(KEYS[1], -64))
return answer
`,
);

/** KEYS: record, steps, index. ARGV: token, nonce, lease, retention. */
const RENEW = redisScript(
  PRELUDE,
  `
local r, wrong = present(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
if not holds(r, ARGV[1], ARGV[2]) then return {'lost'} end
if r.st == 'c' then return {'finalized'} end
if r.l <= now then return {'lost'} end
local leaseExpiresAt = after(now, ARGV[3])
local expiresAt = after(leaseExpiresAt, ARGV[4])
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'l', str(leaseExpiresAt), 'e', str(expiresAt))
keepUntil(expiresAt)
return {'renewed', str(leaseExpiresAt - now)}
`,
);

/** KEYS: record, steps, index. ARGV: token, nonce, retention, kind, bytes, channel. */
const COMPLETE = redisScript(
  PRELUDE,
  `
local r, wrong = present(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
local mine = holds(r, ARGV[1], ARGV[2])
if r.st == 'c' then return outcome(mine and 'committed' or 'finalized', r) end
if not mine then return {'lost'} end
r.d, r.e, r.ok, r.ob = now, after(now, ARGV[3]), ARGV[4], ARGV[5]
redis.call('HDEL', KEYS[1], 'l', 'g', 'b')
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'st', 'c', 'd', str(r.d), 'e', str(r.e), 'ok', r.ok, 'ob', r.ob)
keepUntil(r.e)
wake(ARGV[6])
return outcome('committed', r)
`,
);

/** KEYS: record, steps, index. ARGV: token, nonce, mode, attempt, retention, =lease expired at, channel. */
const RELEASE = redisScript(
  PRELUDE,
  `
local r, wrong = present(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
local mine = holds(r, ARGV[1], ARGV[2])
if r.st == 'c' then return outcome(mine and 'committed' or 'finalized', r) end
-- The token alone says that this very release was here before: a record that was given up has no nonce.
if str(r.t) == ARGV[1] and r.n == '' then return {'released'} end
if not mine then return {'lost'} end
if ARGV[3] == 'forget' then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[3], string.sub(KEYS[1], -64))
else
  local leaseExpiredAt = now
  if ARGV[6] ~= '' then leaseExpiredAt = tonumber(string.sub(ARGV[6], 2)) end
  local expiresAt = after(leaseExpiredAt, ARGV[5])
  redis.call('HDEL', KEYS[1], 'b')
  redis.call('HSET', KEYS[1], 'a', ARGV[4], 'n', '', 'e', str(expiresAt), 'l', str(leaseExpiredAt),
    'g', ARGV[3] == 'retry' and '1' or '0')
  keepUntil(expiresAt)
end
wake(ARGV[7])
return {'released'}
`,
);

/** KEYS: record, steps. ARGV: token, nonce, position, name, kind, bytes. The first outcome of a position stays. */
const STEP = redisScript(
  PRELUDE,
  `
local r, wrong = present(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
if not holds(r, ARGV[1], ARGV[2]) then return {'lost'} end
if r.st == 'c' then return {'finalized'} end
local p = ARGV[3]
local known = redis.pcall('HEXISTS', KEYS[2], p .. 'b')
if type(known) == 'table' then return corrupt('its steps are no hash') end
if known == 0 then
  redis.call('HSET', KEYS[2], p .. 'n', ARGV[4], p .. 'k', ARGV[5], p .. 'b', ARGV[6])
  redis.call('PEXPIREAT', KEYS[2], str(r.e))
end
return {'recorded'}
`,
);

/** KEYS: record. */
const GET = redisScript(
  PRELUDE,
  `
local r, wrong = load(KEYS[1])
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
r.raw[#FIELDS + 1] = str(now)
return r.raw
`,
);

/** KEYS: index of a bucket. ARGV: after, limit, =operation, status. What can't be read is left out. */
const LIST = redisScript(
  PRELUDE,
  `
local base = string.sub(KEYS[1], 1, -6) .. 'x:'
local limit, operation, status = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local ids = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. str(now), '+inf')) do
  if id > ARGV[1] then ids[#ids + 1] = id end
end
table.sort(ids)
local found = {}
for _, id in ipairs(ids) do
  if #found >= limit then break end
  local r = load(base .. id)
  if r and r.e > now and (operation == '' or r.o == string.sub(operation, 2)) then
    local is = r.st == 'c' and 'completed' or r.l > now and 'running' or 'abandoned'
    if status == '' or status == is then
      r.raw[#FIELDS + 1] = str(now)
      r.raw[#FIELDS + 2] = id
      found[#found + 1] = r.raw
    end
  end
end
return found
`,
);

/** KEYS: index of a bucket. How many of it have expired. */
const EXPIRED = redisScript(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {tostring(redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%.0f', now)))}
`);

/** KEYS: index of a bucket. ARGV: limit. */
const PURGE = redisScript(PRELUDE, PRUNE, "return {tostring(prune(KEYS[1], tonumber(ARGV[1]), ''))}");

/** KEYS: record. ARGV: nonce. Writes to the record without changing it, so that WAIT waits for it. */
const TOUCH = redisScript(`
if redis.call('HGET', KEYS[1], 'n') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'n', ARGV[1])
return 1
`);

/** One script an operation: the decisions of `execution-record.ts`, said in Lua. */
export const EXECUTION_SCRIPTS = {
  claim: CLAIM,
  renew: RENEW,
  complete: COMPLETE,
  release: RELEASE,
  step: STEP,
  get: GET,
  list: LIST,
  expired: EXPIRED,
  purge: PURGE,
  touch: TOUCH,
} as const satisfies Record<string, RedisScript>;
