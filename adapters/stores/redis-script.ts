import { createHash } from "node:crypto";

/** A Lua script: its text, which never changes, and the digest under which servers know it. */
export interface RedisScript {
  readonly text: string;
  readonly sha: string;
}

export function redisScript(...parts: readonly string[]): RedisScript {
  const text = parts.join("\n");
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Ends a script on a replica, before it has read anything: a server that was demoted answers questions from what it had then.
 *
 * The command is one that replicas refuse, that changes nothing, and that is not replicated. A server without memory refuses it
 * too, and then it does not count as the script's first write, as one that it takes would: that one is checked for memory,
 * and those behind it are not. It costs some 0.2 microseconds.
 */
export function onPrimary(command: string): string {
  return `
local probe = redis.pcall(${command})
if type(probe) == 'table' and not string.find(probe.err, 'OOM ', 1, true) and not string.find(probe.err, 'WRONGTYPE ', 1, true) then
  return {err = string.gsub(probe.err, '^@[^:]*: *%d+: %-?', '')}
end
`;
}

/** {@link onPrimary} by a key that is a text. */
export const ON_TEXT = onPrimary("'SETRANGE', KEYS[1], '0', ''");

/** {@link onPrimary} by a key that is a sorted set, no member of which is a NUL alone. */
export const onSortedSet = (key: number): string => onPrimary(`'ZADD', KEYS[${key}], 'XX', '0', '\\0'`);

/** The server's time, once a script: `us` and `now` in microseconds and milliseconds; `str` writes a number in full. */
export const TIME_LUA = `
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = math.floor(us / 1000)
local function str(n) return string.format('%.0f', n) end
`;
