/**
 * A record is one text:
 *
 * ```
 * 1 <id> <status> <attempt> <token> <expires> <moment> <what> <abandoned> <steps> <#nonce> <#outcome> <retention> <created> <#operation> <#scope> <#key> <#fingerprint>\n
 * <operation><scope><key><fingerprint><nonce><outcome>
 * ```
 *
 * - status: `r` running or `c` completed. moment: when the lease expires, or when it was completed. what: whether a retry was
 *   granted (`0`, `1`), or the kind of the outcome. abandoned: when the lease before lapsed, or `-`. steps: how many there are,
 *   so that none of them can be lost unnoticed.
 * - `#` are lengths in bytes, `-` for what is absent. Texts are found by their length, so that none can break the record.
 * - The id is in it so that a record under another's key is found out.
 *
 * All up to `<#outcome>` changes with the execution, the rest with a new grant only. `redis-rows.ts` reads the same.
 *
 * In Lua, numbers stay texts wherever they can: it would write 2^53 as 9.007e+15. What is computed is written by `str`. No text
 * of a user goes through `string.format`, which ends at a NUL.
 */
export const LOAD_LUA = `
local MOST = 9007199254740991
local HEAD = '^([rc]) (%d+) (%d+) (%d+) (%d+) (%l*[01]?) ([%d-]+) (%d+) (%d+) (%d+) ()(%d+) (%d+) (%d+) (%d+) ([%d-]+) ([%d-]+)\\n()'
local function corrupt(what) return {'corrupt', what} end
-- A length, and one that may be absent.
local function span(text) return text == '-' and 0 or tonumber(text) or MOST end
-- Where only the beginning of a record was read, its size is not known.
local function parse(raw, id, isPart)
  if string.find(raw, '1 ' .. id .. ' ', 1, true) ~= 1 then
    if string.sub(raw, 1, 2) ~= '1 ' then return nil, 'it has an unknown format' end
    return nil, 'it is that of another id'
  end
  local st, a, t, e, x, w, b, steps, n, ob, rest, retention, c, o, s, k, f, texts = string.match(raw, HEAD, 68)
  if not st then return nil, 'its header is malformed' end
  local r = {raw = raw, st = st, a = a, t = t, e = tonumber(e), x = tonumber(x), g = w, b = b, steps = tonumber(steps),
    n = tonumber(n), rest = rest, c = c, o = tonumber(o), s = tonumber(s), k = k, f = f, texts = texts}
  local attempt, token = tonumber(a), tonumber(t)
  if attempt < 1 or attempt > MOST or token < 1 or token > MOST or r.e > MOST or r.x > MOST or tonumber(c) > MOST
    or r.steps > MOST or tonumber(retention) > MOST or (b ~= '-' and (tonumber(b) or MOST + 1) > MOST) then
    return nil, 'a number is malformed'
  end
  if st == 'r' then
    if w ~= '0' and w ~= '1' then return nil, 'its lease is malformed' end
  elseif w ~= 'value' and w ~= 'error' and w ~= 'tombstone' then
    return nil, 'its outcome is malformed'
  elseif r.steps ~= 0 then
    return nil, 'it is completed and has steps'
  end
  r.key = texts + r.o + r.s
  r.nonce = r.key + span(k) + span(f)
  r.ob = r.nonce + r.n
  if not isPart and #raw ~= r.ob - 1 + tonumber(ob) then return nil, 'it is not whole' end
  return r
end
local function load(key)
  local raw = redis.pcall('GET', key)
  if not raw then return nil end
  if type(raw) == 'table' then
    if string.find(raw.err, 'WRONGTYPE', 1, true) then return nil, 'it is no text' end
    error(raw.err, 0)
  end
  return parse(raw, string.sub(key, -64))
end
`;

/** The record of KEYS[1] as the executions see it, and what writes it. */
export const CHANGE_LUA = `
local function after(moment, duration) return math.min(moment + duration, MOST) end
-- At its boundary a record has expired.
local function present()
  local r, wrong = load(KEYS[1])
  if r and r.e <= now then return nil end
  return r, wrong
end
-- What changes with the execution. Numbers are given as texts.
local function head(st, a, t, e, x, w, b, steps, n, ob)
  return '1 ' .. string.sub(KEYS[1], -64) .. ' ' .. st .. ' ' .. a .. ' ' .. t .. ' ' .. e .. ' ' .. x .. ' ' .. w .. ' ' .. b .. ' ' ..
    str(steps) .. ' ' .. n .. ' ' .. ob .. ' '
end
-- Redis forgets by itself what has expired; whether it has is judged by the record. 0 would be no moment to Redis.
local function store(record, e) redis.call('SET', KEYS[1], record, 'PXAT', e == '0' and '1' or e) end
-- Of a record that runs: nothing is behind its nonce.
local function relet(r, x, e)
  redis.call('ZADD', KEYS[3], e, string.sub(KEYS[1], -64))
  store(head('r', r.a, r.t, e, x, r.g, r.b, r.steps, r.n, '0') .. string.sub(r.raw, r.rest), e)
end
local function holds(r, token, nonce) return r.t == token and string.sub(r.raw, r.nonce, r.ob - 1) == nonce end
local function outcome(status, r) return {status, str(now), r.raw} end
-- Nobody waits less safely because a hint may not be sent.
local function wake(channel) redis.pcall('PUBLISH', channel, '') end
`;

const HEAD =
  /^1 [0-9a-f]{64} [rc] \d+ \d+ \d+ \d+ (0|1|value|error|tombstone) (-|\d+) \d+ \d+ \d+ \d+ \d+ \d+ \d+ (-|\d+) (-|\d+)\n/;

/** No head has more bytes. */
export const HEAD_BYTES = 400;

/** Whether a record that begins so can be read by its head, for who looks at many without what they hold. */
export function isRecordHead(text: string, id: string): boolean {
  return HEAD.test(text) && text.startsWith(`1 ${id} `);
}
