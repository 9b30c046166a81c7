import { CHANGE_LUA, LOAD_LUA } from "./redis-execution-record.ts";
import { TOKEN_LUA } from "./redis-execution-tokens.ts";
import { ON_TEXT, redisScript, TIME_LUA } from "./redis-script.ts";

/**
 * `decideSeize`. A lease that the same nonce lets again is `relet`, as that of a claim is.
 *
 * KEYS: record, steps, index, token. ARGV: token, nonce, lease, retention.
 */
export const SEIZE = redisScript(
  ON_TEXT,
  TIME_LUA,
  LOAD_LUA,
  CHANGE_LUA,
  TOKEN_LUA,
  `
local nonce = ARGV[2]
local r, wrong = present()
if wrong then return corrupt(wrong) end
if not r then return {'missing'} end
if r.st == 'c' then return outcome('completed', r) end
local isAgain = string.sub(r.raw, r.nonce, r.ob - 1) == nonce
if not isAgain and r.t ~= ARGV[1] then return {'changed'} end
if isAgain and r.x > now then return {'seized', r.a, r.t, str(r.x - now)} end
local leaseExpiresAt = after(now, ARGV[3])
local expiresAt = str(after(leaseExpiresAt, ARGV[4]))
local token = r.t
if not isAgain then
  local broken
  token, broken = nextToken(KEYS[4], r.t)
  if broken then return corrupt(broken) end
  redis.call('SET', KEYS[4], token)
end
redis.call('ZADD', KEYS[3], expiresAt, string.sub(KEYS[1], -64))
store(head('r', r.a, token, expiresAt, str(leaseExpiresAt), '0', '-', r.steps, #nonce, '0') ..
  string.sub(r.raw, r.rest, r.nonce - 1) .. nonce, expiresAt)
redis.call('PEXPIREAT', KEYS[2], expiresAt)
return {isAgain and 'relet' or 'seized', r.a, token, str(leaseExpiresAt - now)}
`,
);
