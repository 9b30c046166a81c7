import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { RedisClientType } from "redis";

/** A client whose scripts read the time from a key, and what moves that time. */
export interface TimedClient<Client> {
  readonly client: Client;
  advance(ms: number): Promise<void>;
  /** Removes the key. */
  forget(): Promise<void>;
}

/** No server knows it, so that each script is sent whole, and can be rewritten. */
const UNKNOWN_SHA = "f".repeat(40);

/** A node-redis client before which time stands still but for `advance()`. */
export async function timedNodeRedis(client: RedisClientType): Promise<TimedClient<RedisClientType>> {
  const time = timeKey((args) => client.sendCommand(args));
  await time.advance(0);
  const timed = intercept(client, {
    sendCommand: (args: unknown[], options: never) => client.sendCommand(time.rewritten(args) as string[], options),
  });
  return { client: timed, advance: time.advance, forget: time.forget };
}

/** An ioredis client before which time stands still but for `advance()`. */
export async function timedIoredis(client: Redis): Promise<TimedClient<Redis>> {
  const time = timeKey(([command = "", ...args]) => client.call(command, ...args));
  await time.advance(0);
  const timed = intercept(client, {
    createBuiltinCommand: (command: string) => ({
      buffer: (...args: unknown[]) => {
        const [name, ...rest] = time.rewritten([command, ...args]);
        return client.createBuiltinCommand(String(name)).buffer.call(client, ...(rest as never[]));
      },
    }),
    pipeline: () => {
      const pipeline = client.pipeline();
      const callBuffer = (...args: unknown[]) => pipeline.callBuffer(...(time.rewritten(args) as [string]));
      return intercept(pipeline, { callBuffer });
    },
  });
  return { client: timed, advance: time.advance, forget: time.forget };
}

function timeKey(send: (args: string[]) => Promise<unknown>) {
  const key = `test-time:${randomUUID()}`;
  let nowMs = Date.now();
  return {
    async advance(ms: number): Promise<void> {
      nowMs += ms;
      await send(["DEL", key]);
      await send(["RPUSH", key, String(Math.floor(nowMs / 1_000)), String((nowMs % 1_000) * 1_000)]);
    },
    async forget(): Promise<void> {
      await send(["DEL", key]);
    },
    /** `TIME` answers two numbers as texts, and so does a list of two. */
    rewritten(args: readonly unknown[]): unknown[] {
      const [command, script, ...rest] = args;
      if (command === "EVALSHA") return [command, UNKNOWN_SHA, ...rest];
      if (command !== "EVAL") return [...args];
      return [
        command,
        String(script).replaceAll("redis.call('TIME')", `redis.call('LRANGE', '${key}', 0, 1)`),
        ...rest,
      ];
    },
  };
}

function intercept<T extends object>(target: T, methods: object): T {
  return new Proxy(target, {
    get(object, name) {
      if (Object.hasOwn(methods, name)) return methods[name as never];
      const value = Reflect.get(object, name, object);
      return typeof value === "function" ? value.bind(object) : value;
    },
  });
}
