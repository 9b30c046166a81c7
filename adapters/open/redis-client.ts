import { systemClock } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import type { Ioredis, NodeRedis } from "../stores/redis.ts";

/** A client of our own, and what ends it. */
export interface ConnectedRedis {
  readonly client: NodeRedis | Ioredis;
  disconnect(): void;
}

interface NodeRedisClient extends Record<string, unknown> {
  on(event: "error", listener: (error: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
}

interface IoredisClient extends Record<string, unknown> {
  on(event: "error", listener: (error: unknown) => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): void;
}

/**
 * Connects with `redis`, else with `ioredis`, whichever is installed. The first connection has to succeed in time; later
 * ones are the driver's business.
 * @throws EvenkeelError `STORE_MISCONFIGURED` without a driver, `STORE_UNAVAILABLE` without a server.
 */
export async function connectRedis(url: string, timeoutMs: number): Promise<ConnectedRedis> {
  const nodeRedis = await driver<{ createClient(options: object): NodeRedisClient }>("redis");
  if (nodeRedis !== undefined) {
    const client = refusing(() => nodeRedis.createClient({ url }));
    await firstConnection(client, timeoutMs, () => client.destroy());
    return { client: client as unknown as NodeRedis, disconnect: () => client.destroy() };
  }
  const ioredis = await driver<{ Redis: new (url: string, options: object) => IoredisClient }>("ioredis");
  if (ioredis !== undefined) {
    const client = refusing(() => new ioredis.Redis(url, { lazyConnect: true }));
    await firstConnection(client, timeoutMs, () => client.disconnect());
    return { client: client as unknown as Ioredis, disconnect: () => client.disconnect() };
  }
  throw new EvenkeelError("STORE_MISCONFIGURED", "openStore: no driver for Redis was found: install redis or ioredis.");
}

/** Drivers say of a URL that they can't read what it is, password included. */
function refusing<T>(make: () => T): T {
  try {
    return make();
  } catch {
    throw new EvenkeelError("STORE_MISCONFIGURED", "openStore: the redis:// URL can't be read.");
  }
}

async function firstConnection(
  client: Pick<NodeRedisClient, "on" | "connect">,
  timeoutMs: number,
  destroy: () => void,
): Promise<void> {
  let lastError: unknown;
  // Without a listener an error would end the process; afterwards it is told by the store's calls.
  client.on("error", (error) => {
    lastError = error;
  });
  const giveUp = new AbortController();
  const tooLate = systemClock.sleep(timeoutMs, giveUp.signal).then(() => {
    throw lastError ?? new Error(`no connection within ${timeoutMs} ms`);
  });
  try {
    await Promise.race([client.connect(), tooLate]);
  } catch (cause) {
    destroy();
    throw new EvenkeelError("STORE_UNAVAILABLE", "openStore: Redis can't be reached.", { cause: lastError ?? cause });
  } finally {
    giveUp.abort();
    tooLate.catch(() => {});
  }
}

/** The module of an optional peer; a variable keeps bundlers from resolving it. */
async function driver<Module>(name: string): Promise<Module | undefined> {
  try {
    return (await import(/* @vite-ignore */ name)) as Module;
  } catch {
    return undefined;
  }
}
