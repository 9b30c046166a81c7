import { invalidOptions } from "../../src/option-rules.ts";
import type { RedisClient } from "./redis-client.ts";
import { IoredisClient, isIoredis } from "./redis-client-ioredis.ts";
import { isNodeRedis, NodeRedisClient } from "./redis-client-node.ts";

/** @throws EvenkeelError `INVALID_OPTIONS` for what is no client of either driver. */
export function redisClientOf(what: "the first argument" | "subscriber", client: unknown): RedisClient {
  if (isIoredis(client)) return new IoredisClient(client);
  if (isNodeRedis(client)) return new NodeRedisClient(client);
  throw invalidOptions(
    "redisStore",
    `${what} must be a client of redis 5 or later (createClient, createClientPool, createSentinel, createCluster) or of ioredis (Redis, Cluster)`,
  );
}
