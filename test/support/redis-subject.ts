import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { type Ioredis, type NodeRedis, redisStore } from "../../adapters/stores/redis.ts";
import { fencesKey } from "../../adapters/stores/redis-resources-keys.ts";
import type { ConformanceSubject, RecordDamage, RecordName, StoreCapabilities } from "../../src/testing/index.ts";
import { redisUrl } from "./engines.ts";
import { type TimedClient, timedIoredis, timedNodeRedis } from "./redis-time.ts";

/** What the conformance suite may ask of Redis. */
export const REDIS_CAPABILITIES: StoreCapabilities = {
  exactTime: true,
  watch: "shared",
  // Each grant of a claim deletes a few expired records, so purge() can't count them all.
  purge: false,
  hooks: ["reopen"],
  damages: {
    executions: ["newerFormat", "truncated", "missingField", "wrongType", "swapped"],
    leases: ["newerFormat", "truncated", "missingField", "wrongType"],
    fences: ["wrongType"],
  },
};

/** An empty ledger under a prefix of its own on the server that the run shares, by a client of `redis`. */
export async function nodeRedisSubject(): Promise<ConformanceSubject> {
  const client = createClient({ url: redisUrl() });
  await client.connect();
  const timed = await timedNodeRedis(client as never);
  return subject(
    timed as never,
    async (...args) => client.sendCommand(args),
    async () => client.destroy(),
  );
}

/** The same by ioredis. */
export async function ioredisSubject(): Promise<ConformanceSubject> {
  const client = new Redis(redisUrl());
  const timed = await timedIoredis(client);
  const send: Send = (command, ...args) => client.call(command, ...args);
  return subject(timed as never, send, async () => client.disconnect());
}

type Send = (command: string, ...args: string[]) => Promise<unknown>;

async function subject(
  { client, advance, forget }: TimedClient<NodeRedis | Ioredis>,
  send: Send,
  end: () => Promise<void>,
): Promise<ConformanceSubject> {
  const keyPrefix = `test:${randomUUID()}:`;
  const store = redisStore(client, { keyPrefix });
  return {
    store,
    advance,
    reopen: async () => redisStore(client, { keyPrefix }),
    corrupt: (record, damage) => corrupt(send, keyPrefix, record, damage),
    async dispose() {
      await store.close();
      await forget();
      await end();
    },
  };
}

const TRUNCATE = "return redis.call('SET', KEYS[1], string.sub(redis.call('GET', KEYS[1]), 1, -2), 'KEEPTTL')";

/** The words of a record's header, in order. */
export const HEADER = [
  ...["format", "id", "status", "attempt", "token", "expires", "moment", "what", "abandoned", "steps", "#nonce"],
  ...["#outcome", "retention", "created", "#operation", "#scope", "#key", "#fingerprint"],
] as const;

const EDIT = `
local header, texts = string.match(redis.call('GET', KEYS[1]), '^([^\\n]*)(.*)$')
local words = {}
for word in string.gmatch(header, '[^ ]+') do words[#words + 1] = word end
if ARGV[2] == '' then table.remove(words, ARGV[1]) else words[tonumber(ARGV[1])] = ARGV[2] end
return redis.call('SET', KEYS[1], table.concat(words, ' ') .. texts, 'KEEPTTL')`;

/** A command that puts another word into a record's header, or takes it out where it is empty. */
export function editRecord(key: string, word: (typeof HEADER)[number], value: string): [string, ...string[]] {
  return ["EVAL", EDIT, "1", key, String(HEADER.indexOf(word) + 1), value];
}

async function corrupt(send: Send, prefix: string, record: RecordName, damage: RecordDamage) {
  if (record.part === "executions") {
    const [key = ""] = (await send("KEYS", `${prefix}*:x:${record.id}`)) as string[];
    if (damage === "newerFormat") await send(...editRecord(key, "format", "2"));
    else if (damage === "truncated") await send("EVAL", TRUNCATE, "1", key);
    else if (damage === "missingField") await send(...editRecord(key, "expires", ""));
    else if (damage === "wrongType") await send(...editRecord(key, "attempt", "two"));
    else await send(...editRecord(key, "id", "0".repeat(64)));
    return { raw: () => send("DUMP", key) };
  }
  if (record.part === "fences") {
    const key = fencesKey(prefix, record.group);
    await send("HSET", key, record.name, "seven");
    return { raw: () => send("HGET", key, record.name) };
  }
  if (record.part !== "leases") throw new Error(`${record.part}: not damaged here`);
  const key = `${prefix}{leases}:x`;
  const packed = String(await send("HGET", key, record.name));
  await send("HSET", key, record.name, damagedLease(packed, damage));
  return { raw: () => send("HGET", key, record.name) };
}

function damagedLease(packed: string, damage: RecordDamage): string {
  const parts = packed.split(" ");
  switch (damage) {
    case "newerFormat":
      return ["2", ...parts.slice(1)].join(" ");
    case "truncated":
      return packed.slice(0, packed.length / 2);
    case "missingField":
      return [...parts.slice(0, 2), ...parts.slice(3)].join(" ");
    default:
      return [parts[0], "two", ...parts.slice(2)].join(" ");
  }
}
