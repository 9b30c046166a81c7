import { CHANGE_LUA, LOAD_LUA } from "./redis-execution-record.ts";
import { ON_TEXT, redisScript, TIME_LUA } from "./redis-script.ts";

/**
 * The steps of a record are a hash: `<position>n` name, `<position>k` kind, `<position>b` bytes. The record says how many there
 * are. `withSteps` puts them behind an answer, or answers what is wrong: a claim learns it before it has written anything,
 * since whoever runs without a step that was recorded has its effect a second time.
 */
export const STEPS_LUA = `
local KINDS = {value = true, error = true, tombstone = true}
local function withSteps(r, answer)
  if r.steps == 0 then return answer end
  local h = redis.pcall('HGETALL', KEYS[2])
  if h.err then return corrupt('its steps are no hash') end
  if #h ~= 6 * r.steps then return corrupt('its steps are not whole') end
  local positions, steps = {}, 0
  for i = 1, #h, 2 do
    local position, part = string.match(h[i], '^(%d+)([nkb])$')
    if not position or (#position > 1 and string.sub(position, 1, 1) == '0') or tonumber(position) > MOST
      or (part == 'k' and not KINDS[h[i + 1]]) then
      return corrupt('its steps are malformed')
    end
    if not positions[position] then
      positions[position] = true
      steps = steps + 1
    end
    answer[#answer + 1] = h[i]
    answer[#answer + 1] = h[i + 1]
  end
  -- Each has three fields at most: so many fields of so many steps are all of them.
  if steps ~= r.steps then return corrupt('its steps are not whole') end
  return answer
end
`;

/** KEYS: record, steps. ARGV: token, nonce, position, name, kind, bytes. The first outcome of a position stays. */
export const RECORD_STEP = redisScript(
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
local p, expiresAt = ARGV[3], str(r.e)
if r.steps == 0 then
  -- Those of a record that has expired may still be there.
  redis.call('DEL', KEYS[2])
else
  local fields = redis.pcall('HLEN', KEYS[2])
  if type(fields) == 'table' then return corrupt('its steps are no hash') end
  if fields ~= 3 * r.steps then return corrupt('its steps are not whole') end
  if redis.call('HEXISTS', KEYS[2], p .. 'b') == 1 then return {'recorded'} end
  redis.call('PEXPIREAT', KEYS[2], expiresAt)
end
redis.call('HSET', KEYS[2], p .. 'n', ARGV[4], p .. 'k', ARGV[5], p .. 'b', ARGV[6])
redis.call('PEXPIREAT', KEYS[2], expiresAt)
store(head('r', r.a, r.t, expiresAt, str(r.x), r.g, r.b, r.steps + 1, r.n, '0') .. string.sub(r.raw, r.rest), expiresAt)
return {'recorded'}
`,
);
