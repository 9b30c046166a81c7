import { LOAD_LUA } from "./redis-execution-record.ts";
import { redisScript } from "./redis-script.ts";

/**
 * Writes to a record without changing it, so that `WAIT` waits for all that was written to it before, also on a connection that
 * has written nothing yet. It may come before the script that it is sent beside, where the server does not know that one yet
 * and where the two take different connections: what it then finds must not be taken for what the script writes. The nonce
 * alone would not tell, since a claim that was lost is granted again under it. Hence the answer is the token.
 *
 * KEYS: record. ARGV: nonce, status: `r` for a grant, `c` for a completion.
 */
export const TOUCH = redisScript(
  LOAD_LUA,
  `
local r = load(KEYS[1])
if not r or r.st ~= ARGV[2] or string.sub(r.raw, r.nonce, r.ob - 1) ~= ARGV[1] then return false end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', r.e))
return r.t
`,
);
