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

/** The server's time, once a script: `us` and `now` in microseconds and milliseconds; `str` writes a number in full. */
export const TIME_LUA = `
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = math.floor(us / 1000)
local function str(n) return string.format('%.0f', n) end
`;
