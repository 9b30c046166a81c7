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
