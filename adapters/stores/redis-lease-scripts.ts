import { onPrimary, onSortedSet, type RedisScript, redisScript, TIME_LUA } from "./redis-script.ts";

/**
 * All leases are in one hash: name -> format, epoch, renewals, duration, expires at, nonce and holder, with spaces between
 * them; nonce and holder are base64url, so that they hold none. An index has the names by the moment at which they lapse.
 *
 * KEYS: leases, index, epoch, or as many of them as a script needs.
 */
const PRELUDE = `
${TIME_LUA}
local MOST = 9007199254740991
local function whole(text, least)
  if not text or #text > 16 or not string.find(text, '^%d+$') then return nil end
  local n = tonumber(text)
  if n < least or n > MOST then return nil end
  return n
end
local function parse(packed)
  local v, e, n, d, x, nonce, holder = string.match(packed, '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S*) (%S*)$')
  if v ~= '1' then return nil, 'it has an unknown format' end
  local l = {e = whole(e, 1), n = whole(n, 0), d = whole(d, 1), x = whole(x, 0), nonce = nonce, holder = holder}
  if not (l.e and l.n and l.d and l.x) then return nil, 'it is not a lease' end
  return l
end
local function load(name)
  local packed = redis.pcall('HGET', KEYS[1], name)
  if type(packed) == 'table' then return nil, 'the leases are no hash' end
  if not packed then return nil end
  return parse(packed)
end
local function save(name, l)
  redis.call('HSET', KEYS[1], name,
    table.concat({'1', str(l.e), str(l.n), str(l.d), str(l.x), l.nonce, l.holder}, ' '))
  redis.call('ZADD', KEYS[2], str(l.x), name)
end
local function view(status, name, l)
  return {status, name, l.holder, str(l.e), str(l.n), str(l.d), str(l.x - now)}
end
`;

/** No name is a NUL. */
const ON_INDEX = onSortedSet(2);

/** ARGV: name, holder, nonce, duration, and how long a lapsed lease is kept. */
const ACQUIRE = redisScript(
  ON_INDEX,
  PRELUDE,
  `
local name, holder, nonce, duration = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local l, wrong = load(name)
if wrong then return {'corrupt', wrong} end
if l and l.x > now then
  if l.nonce == nonce and l.holder == holder then return {'acquired', str(l.e), str(l.x - now)} end
  return view('held', name, l)
end
local last = redis.pcall('GET', KEYS[3])
if type(last) == 'table' then return {'corrupt', 'the epochs are no text'} end
last = whole(last or '0', 0)
if not last then return {'corrupt', 'the last epoch is no number'} end
local epoch = math.max(us, last + 1, l and l.e + 1 or 0)
if epoch > MOST then return {'corrupt', 'the epochs have run out'} end
redis.call('SET', KEYS[3], str(epoch))
local x = math.min(now + duration, MOST)
save(name, {e = epoch, n = 0, d = duration, x = x, nonce = nonce, holder = holder})
-- Holders that never came back are forgotten a few at a time.
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', str(now - tonumber(ARGV[5])), 'LIMIT', 0, 2)) do
  local lapsed, broken = load(old)
  if not broken then redis.call('HDEL', KEYS[1], old) end
  redis.call('ZREM', KEYS[2], old)
end
return {'acquired', str(epoch), str(x - now)}
`,
);

/** ARGV: name, holder, epoch, duration. */
const RENEW = redisScript(
  ON_INDEX,
  PRELUDE,
  `
local l, wrong = load(ARGV[1])
if wrong then return {'corrupt', wrong} end
if not l then return {'missing'} end
if l.holder ~= ARGV[2] or str(l.e) ~= ARGV[3] or l.x <= now then return {'lost'} end
l.n = l.n + 1
l.d = tonumber(ARGV[4])
l.x = math.min(now + l.d, MOST)
save(ARGV[1], l)
return {'renewed', str(l.x - now)}
`,
);

/** ARGV: name, holder, epoch. */
const RELEASE = redisScript(
  ON_INDEX,
  PRELUDE,
  `
local l, wrong = load(ARGV[1])
if wrong then return {'corrupt', wrong} end
if not l then return {'missing'} end
if l.holder ~= ARGV[2] or str(l.e) ~= ARGV[3] then return {'lost'} end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return {'released'}
`,
);

/** ARGV: name. */
const GET = redisScript(
  onPrimary("'HDEL', KEYS[1], '\\0'"),
  PRELUDE,
  `
local l, wrong = load(ARGV[1])
if wrong then return {'corrupt', wrong} end
if not l or l.x <= now then return {'missing'} end
return view('found', ARGV[1], l)
`,
);

/** ARGV: prefix. What can't be read is left out. */
const LIST = redisScript(
  ON_INDEX,
  PRELUDE,
  `
local prefix = ARGV[1]
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. str(now), '+inf')) do
  if string.sub(name, 1, #prefix) == prefix then
    local l = load(name)
    if l and l.x > now then found[#found + 1] = view('found', name, l) end
  end
end
return found
`,
);

/** One script an operation: the decisions of `lease-record.ts`, said in Lua. */
export const LEASE_SCRIPTS = {
  acquire: ACQUIRE,
  renew: RENEW,
  release: RELEASE,
  get: GET,
  list: LIST,
} as const satisfies Record<string, RedisScript>;

const LEASE = /^1 (\d{1,16}) (\d{1,16}) (\d{1,16}) (\d{1,16}) \S* \S*$/;

/** Whether a lease can be read, as the scripts judge it. */
export function isLeaseText(packed: string): boolean {
  const [, ...numbers] = LEASE.exec(packed) ?? [];
  const [epoch = 0, renewals = -1, durationMs = 0, expiresAt = -1] = numbers.map(Number);
  const isWhole = [epoch, renewals, durationMs, expiresAt].every(Number.isSafeInteger);
  return isWhole && epoch > 0 && renewals >= 0 && durationMs > 0 && expiresAt >= 0;
}
