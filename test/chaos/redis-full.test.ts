import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { redisStore } from "../../adapters/stores/redis.ts";
import { describeRedisServers } from "../support/engines.ts";
import { startRedis } from "../support/redis-server.ts";
import { describeFullEngine } from "./full-engine.ts";

// A completion frees the steps before it writes, and a script that has written is let go on.
describeRedisServers("a Redis at its maxmemory", () => {
  describeFullEngine(
    async () => {
      const server = await startRedis();
      const client = createClient({ url: server.url });
      client.on("error", () => {});
      await client.connect();
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      return {
        store,
        fill: async () => void (await client.configSet("maxmemory", "1")),
        makeRoom: async () => void (await client.configSet("maxmemory", "0")),
        close: async () => {
          await store.close();
          client.destroy();
          await server.stop();
        },
      };
    },
    { outcomes: "taken" },
  );
});
