import type { Clock } from "../../src/clock.ts";
import { connectRedis } from "../open/redis-client.ts";
import type { AskRedis } from "../stores/redis-client.ts";
import { redisClientOf } from "../stores/redis-client-detection.ts";
import { DEFAULT_KEY_PREFIX } from "../stores/redis-keys.ts";
import { textOfReply } from "../stores/redis-reply.ts";
import { type Check, type Examination, examine, reasonOf } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { clockVerdict, latencyVerdict } from "./doctor-machine.ts";
import { unreadableRedisLeases } from "./doctor-redis-leases.ts";
import { type ScannedRedis, unreadableRedisRecords } from "./doctor-redis-records.ts";
import { REDIS_SETTING_CHECKS, type RedisSettings, type Told } from "./doctor-redis-settings.ts";

export interface RedisExaminationOptions {
  readonly prefix?: string | undefined;
  readonly clock: Clock;
  readonly limits: DoctorLimits;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

interface RedisSubject extends RedisSettings, ScannedRedis {
  readonly clock: Clock;
}

/**
 * Looks at the settings and the state of a Redis server.
 * @throws EvenkeelError `STORE_UNAVAILABLE` when it can't be reached, `STORE_MISCONFIGURED` without a driver.
 */
export async function examineRedis(url: string, options: RedisExaminationOptions): Promise<Examination> {
  const { clock, limits, timeoutMs, signal } = options;
  const { client, disconnect } = await connectRedis(url, timeoutMs);
  try {
    const [ask] = redisClientOf("the first argument", client).primaries();
    if (ask === undefined) throw new Error("the client has no server");
    const subject = { ask, prefix: options.prefix ?? DEFAULT_KEY_PREFIX, clock, limits, ...(await settingsOf(ask)) };
    return await examine(subject, CHECKS, signal);
  } finally {
    disconnect();
  }
}

const CHECKS: readonly Check<RedisSubject>[] = [
  ...REDIS_SETTING_CHECKS,
  {
    id: "redis-clock",
    look: ({ ask, clock, limits }) =>
      clockVerdict("Redis", clock, limits, async () => {
        const [seconds, micros] = ((await ask(["TIME"])) as unknown[]).map((part) => Number(textOfReply(part)));
        return (seconds as number) * 1_000 + (micros as number) / 1_000;
      }),
  },
  {
    id: "redis-latency",
    look: ({ ask, clock, limits }) => latencyVerdict("Redis", clock, limits, () => ask(["PING"])),
  },
  { id: "executions-unreadable", look: unreadableRedisRecords },
  { id: "leases-unreadable", look: unreadableRedisLeases },
];

/** INFO and CONFIG, whatever of them the user may ask for. */
async function settingsOf(ask: AskRedis): Promise<Pick<RedisSettings, "info" | "config">> {
  return {
    info: await toldBy(ask, ["INFO"], (reply) => infoIn(textOfReply(reply))),
    config: await toldBy(ask, ["CONFIG", "GET", "*"], pairsIn),
  };
}

async function toldBy(
  ask: AskRedis,
  args: readonly string[],
  read: (reply: unknown) => ReadonlyMap<string, string>,
): Promise<Told> {
  try {
    return read(await ask(args));
  } catch (error) {
    return { denied: reasonOf(error) };
  }
}

function infoIn(text: string): ReadonlyMap<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

/** A list of names and values, or by RESP3 a map or an object. */
function pairsIn(reply: unknown): ReadonlyMap<string, string> {
  if (reply instanceof Map) return new Map([...reply].map(([name, value]) => [textOfReply(name), textOfReply(value)]));
  if (!Array.isArray(reply)) {
    return new Map(Object.entries((reply ?? {}) as object).map(([name, value]) => [name, textOfReply(value)]));
  }
  const names = reply.filter((_, index) => index % 2 === 0);
  return new Map(names.map((name, index) => [textOfReply(name), textOfReply(reply[index * 2 + 1])]));
}
