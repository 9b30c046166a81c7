import { EXECUTION_READS, PRUNE_LUA } from "./redis-execution-reads.ts";
import { CHANGE_LUA, LOAD_LUA } from "./redis-execution-record.ts";
import { SEIZE } from "./redis-execution-seizing.ts";
import { RECORD_STEP, STEPS_LUA } from "./redis-execution-steps.ts";
import { TOKEN_LUA } from "./redis-execution-tokens.ts";
import { TOUCH } from "./redis-execution-touch.ts";
import { ON_TEXT, type RedisScript, redisScript, TIME_LUA } from "./redis-script.ts";

/**
 * A lease that the same nonce lets again is `relet`, and acquired by who asks: see `redis-executions.ts`.
 *
 * KEYS: record, steps, index, token. ARGV: nonce, lease, retention, when abandoned, operation, scope, =key, =fingerprint.
 */
const CLAIM = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  CHANGE_LUA,
  PRUNE_LUA,
  STEPS_LUA,
  TOKEN_LUA,
  `
local nonce, lease, retention, key, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[7], ARGV[8]
local r, wrong = present()
if wrong then return corrupt(wrong) end
if r then
  local known = r.f ~= '-' and string.sub(r.raw, r.nonce - r.f, r.nonce - 1)
  -- Digests of what is compared: how long it takes says nothing about what is stored.
  if known and fingerprint ~= '' and redis.sha1hex(known) ~= redis.sha1hex(string.sub(fingerprint, 2)) then return {'mismatch'} end
  if r.st == 'c' then return outcome('completed', r) end
  if string.sub(r.raw, r.nonce, r.ob - 1) == nonce then
    local lapsed = r.x <= now
    if lapsed then r.x = after(now, lease) end
    local answer = withSteps(r, {lapsed and 'relet' or 'acquired', r.a, r.t, str(r.x - now), r.b})
    if answer[1] == 'relet' then
      local expiresAt = str(after(r.x, retention))
      relet(r, str(r.x), expiresAt)
      redis.call('PEXPIREAT', KEYS[2], expiresAt)
    end
    return answer
  end
  if r.x > now then return {'running', r.a, str(r.x - now)} end
  if ARGV[4] ~= 'takeover' and r.g == '0' then return withSteps(r, {'abandoned', r.a, str(r.x)}) end
  if r.k ~= '-' then key = '=' .. string.sub(r.raw, r.key, r.key + r.k - 1) end
  if known then fingerprint = '=' .. known end
end
local token, broken = nextToken(KEYS[4], r and r.t or 0)
if broken then return corrupt(broken) end
local leaseExpiresAt = after(now, lease)
local expiresAt = str(after(leaseExpiresAt, retention))
local answer = {'acquired', r and str(r.a + 1) or '1', token, str(leaseExpiresAt - now), r and r.g == '0' and str(r.x) or '-'}
if r then answer = withSteps(r, answer) end
if answer[1] ~= 'acquired' then return answer end
-- First, since a server without memory refuses only what comes first: a claim that is refused leaves nothing behind.
redis.call('SET', KEYS[4], token)
redis.call('ZADD', KEYS[3], expiresAt, string.sub(KEYS[1], -64))
store(head('r', answer[2], token, expiresAt, str(leaseExpiresAt), '0', answer[5], r and r.steps or 0, #nonce, '0') ..
  retention .. ' ' .. (r and r.c or str(now)) .. ' ' .. #ARGV[5] .. ' ' .. #ARGV[6] .. ' ' ..
  (key == '' and '-' or #key - 1) .. ' ' .. (fingerprint == '' and '-' or #fingerprint - 1) .. '\\n' ..
  ARGV[5] .. ARGV[6] .. string.sub(key, 2) .. string.sub(fingerprint, 2) .. nonce, expiresAt)
if r and r.steps > 0 then redis.call('PEXPIREAT', KEYS[2], expiresAt) end
-- Two a claim, by sixteen at a time, since already looking costs something.
if us % 8 == 0 then prune(KEYS[3], 16, string.sub(KEYS[1], -64)) end
return answer
`,
);

/**
 * KEYS: record, steps, index. ARGV: token, nonce, lease, retention. A holder's scripts begin with a write that a server without
 * memory does not refuse, which it does to a script's first write only: a claim that runs must not be lost to that.
 */
const RENEW = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  CHANGE_LUA,
  `
local r, wrong = present()
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
if not holds(r, ARGV[1], ARGV[2]) then return {'lost'} end
if r.st == 'c' then return {'finalized'} end
if r.x <= now then return {'lost'} end
local leaseExpiresAt = after(now, ARGV[3])
local expiresAt = str(after(leaseExpiresAt, ARGV[4]))
redis.call('PEXPIREAT', KEYS[2], expiresAt)
relet(r, str(leaseExpiresAt), expiresAt)
return {'renewed', str(leaseExpiresAt - now)}
`,
);

/** KEYS: record, steps, index. ARGV: token, nonce, retention, kind, bytes, channel. What it stores it does not send back. */
const COMPLETE = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  CHANGE_LUA,
  `
local r, wrong = present()
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
local mine = holds(r, ARGV[1], ARGV[2])
if r.st == 'c' then return outcome(mine and 'committed' or 'finalized', r) end
if not mine then return {'lost'} end
local expires = after(now, ARGV[3])
local expiresAt = str(expires)
local record = head('c', r.a, r.t, expiresAt, str(now), ARGV[4], '-', 0, r.n, #ARGV[5]) .. string.sub(r.raw, r.rest)
redis.call('DEL', KEYS[2])
-- As a rule it expires earlier than it would have while it ran. That the index learns when it looks.
if expires > r.e then redis.call('ZADD', KEYS[3], expiresAt, string.sub(KEYS[1], -64)) end
store(record .. ARGV[5], expiresAt)
wake(ARGV[6])
return {'committed', str(now), record, 'sent'}
`,
);

/** KEYS: record, steps, index. ARGV: token, nonce, mode, attempt, retention, =lease expired at, channel. */
const RELEASE = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  CHANGE_LUA,
  `
local r, wrong = present()
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
local mine = holds(r, ARGV[1], ARGV[2])
if r.st == 'c' then return outcome(mine and 'committed' or 'finalized', r) end
-- The token alone says that this very release was here before: a record that was given up has no nonce.
if r.t == ARGV[1] and r.n == 0 then return {'released'} end
if not mine then return {'lost'} end
if ARGV[3] == 'forget' then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[3], string.sub(KEYS[1], -64))
else
  local leaseExpiredAt = now
  if ARGV[6] ~= '' then leaseExpiredAt = tonumber(string.sub(ARGV[6], 2)) end
  local expiresAt = str(after(leaseExpiredAt, ARGV[5]))
  redis.call('PEXPIREAT', KEYS[2], expiresAt)
  redis.call('ZADD', KEYS[3], expiresAt, string.sub(KEYS[1], -64))
  store(head('r', ARGV[4], r.t, expiresAt, str(leaseExpiredAt), ARGV[3] == 'retry' and '1' or '0', '-', r.steps, '0', '0') ..
    string.sub(r.raw, r.rest, r.nonce - 1), expiresAt)
end
wake(ARGV[7])
return {'released'}
`,
);

/** One script an operation: the decisions of `execution-record.ts`, said in Lua. */
export const EXECUTION_SCRIPTS = {
  claim: CLAIM,
  renew: RENEW,
  complete: COMPLETE,
  release: RELEASE,
  step: RECORD_STEP,
  seize: SEIZE,
  touch: TOUCH,
  ...EXECUTION_READS,
} as const satisfies Record<string, RedisScript>;
