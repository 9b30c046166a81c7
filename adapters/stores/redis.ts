import { type Clock, systemClock } from "../../src/clock.ts";
import { type EventListener, emitTo } from "../../src/events.ts";
import { acceptOptions, invalidOptions, isPlainText, type OptionRules, rules } from "../../src/option-rules.ts";
import type { LedgerStore } from "../../src/store.ts";
import { redisClientOf } from "./redis-client-detection.ts";
import type { Ioredis } from "./redis-client-ioredis.ts";
import type { NodeRedis } from "./redis-client-node.ts";
import { RedisConnection } from "./redis-connection.ts";
import { type RedisDurability, redisExecutions } from "./redis-executions.ts";
import { DEFAULT_KEY_PREFIX, RedisKeys } from "./redis-keys.ts";
import { redisLeases } from "./redis-leases.ts";
import { redisResources } from "./redis-resources.ts";
import { RedisWakeups } from "./redis-wakeups.ts";

export type { Ioredis } from "./redis-client-ioredis.ts";
export type { NodeRedis } from "./redis-client-node.ts";
export type { RedisDurability } from "./redis-executions.ts";

export interface RedisStoreOptions {
  /** What all keys and channels begin with: a text of at most 255 characters without braces. Defaults to `"evenkeel:"`. */
  readonly keyPrefix?: string;
  /** Whether the user's own key is kept beside its digest, for people to look up. Defaults to true. */
  readonly storeKeys?: boolean;
  /** Takes a server that evicts keys. What it evicts runs twice. Defaults to false. */
  readonly allowEviction?: boolean;
  /**
   * Waits after each claim and each outcome until so many replicas have it, for at most so many milliseconds. Fewer are
   * `STORE_UNAVAILABLE`. Narrows what a failover can lose, and does not end it. Defaults to no waiting.
   */
  readonly durability?: RedisDurability;
  /** A connection to listen on for settled records; it is not closed. Defaults to a duplicate of the client. */
  readonly subscriber?: NodeRedis | Ioredis;
  /** Takes `store_setting_unknown`. Defaults to nobody. */
  readonly onEvent?: EventListener;
  /** Bounds calls, and dates events; leases are judged by the server's clock. Defaults to the machine's. */
  readonly clock?: Clock;
}

const OPTIONS: OptionRules = {
  keyPrefix: rules.custom(
    "a well-formed text of at most 255 characters without control characters and braces",
    (value) => typeof value === "string" && value.length <= 255 && isPlainText(value) && !/[{}]/.test(value),
  ),
  storeKeys: rules.flag,
  allowEviction: rules.flag,
  durability: rules.custom("{ replicas, timeoutMs }, both positive whole numbers", isDurability),
  subscriber: rules.custom("a client of redis or ioredis", (value) => typeof value === "object" && value !== null),
  onEvent: rules.fn,
  clock: rules.clock,
};

/**
 * A ledger in Redis 6.2 or later, or Valkey: one server, Sentinel or Cluster, by a client of `redis` (node-redis) or `ioredis`.
 * Its guarantees hold over the life of a primary that has `appendonly yes`, and `appendfsync always` where power may fail; a failover can lose
 * what was acknowledged, see `durability`.
 *
 * The client is the user's: it is never closed, and has none of our listeners after `close()`. A client of `redis` has to
 * be connected before the first use.
 *
 * Each operation is one script and one round trip. The first use reads the server's settings and refuses replicas, servers that
 * evict keys, and a ledger of a later version (`STORE_MISCONFIGURED`).
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 * @example
 * ```ts
 * const client = await createClient({ url: "redis://127.0.0.1:6379" }).connect();
 * const store = redisStore(client);
 * ```
 */
export function redisStore(client: NodeRedis | Ioredis, options: RedisStoreOptions = {}): LedgerStore {
  acceptOptions("redisStore", OPTIONS, options);
  const { keyPrefix = DEFAULT_KEY_PREFIX, storeKeys = true, allowEviction = false, durability, onEvent } = options;
  const clock = options.clock ?? systemClock;
  const redis = redisClientOf("the first argument", client);
  const listening = options.subscriber === undefined ? undefined : redisClientOf("subscriber", options.subscriber);
  if (listening !== undefined && listening.listen === undefined) {
    throw invalidOptions("redisStore", "subscriber must be a client that can subscribe, which a pool can't");
  }
  const keys = new RedisKeys(keyPrefix);
  const onUnknownPolicy = (): void => {
    emitTo(onEvent, {
      type: "store_setting_unknown",
      at: clock.now(),
      store: "redisStore",
      setting: "maxmemory-policy",
    });
  };
  const connection = new RedisConnection(redis, { clock, allowEviction, formatKey: keys.format, onUnknownPolicy });
  const wakeups = new RedisWakeups({
    channelOf: (id) => keys.channel(id),
    open: listening === undefined ? redis.duplicate?.bind(redis) : listening.listen?.bind(listening),
  });
  return {
    executions: redisExecutions({ connection, keys, clock, storeKeys, durability, wakeups }),
    resources: redisResources({ connection, clock, prefix: keyPrefix }),
    leases: redisLeases({ connection, keys }),
    async close() {
      await Promise.all([connection.close(), wakeups.close()]);
    },
  };
}

function isDurability(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { replicas, timeoutMs, ...unknown } = value as Partial<RedisDurability>;
  return rules.count.test(replicas) && rules.durationMs.test(timeoutMs) && Object.keys(unknown).length === 0;
}
