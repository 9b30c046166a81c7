import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { clusterDrivers } from "../../support/redis-clients.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis-cluster.ts";

describeRedisServers("the settings of a cluster", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster?.stop());

  describe.each(clusterDrivers)("by $driver", ({ open }) => {
    it("are judged by the primaries that answer, so that one that is away stops no other", async () => {
      const { client, close } = await open(cluster.nodes);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const home = await cluster.primaryOf("{leases}");
      const primaries = await Promise.all(["a", "b", "c", "d", "e", "f"].map((key) => cluster.primaryOf(key)));
      const away = primaries.find((server) => server !== home);
      away?.pause();
      try {
        const name = createHash("sha256").update("lease").digest("hex");
        const asked = { name, holder: "h", nonce: "n", durationMs: 60_000 };
        expect(await store.leases.acquire(asked, { timeoutMs: 10_000 })).toMatchObject({ status: "acquired" });
      } finally {
        away?.resume();
      }
      await store.close();
      await close();
    });

    it("are refused where the ledger is of a later version", async () => {
      const { client, close } = await open(cluster.nodes);
      const keyPrefix = `${randomUUID()}:`;
      const home = await cluster.primaryOf(`${keyPrefix}format`);
      expect(await askRedis(home.port, `SET ${keyPrefix}format 2`)).toContain("OK");
      const store = redisStore(client, { keyPrefix });
      const refused = { code: "STORE_MISCONFIGURED", message: expect.stringContaining("newer than 1") };
      await expect(store.leases.list("", { timeoutMs: 10_000 })).rejects.toMatchObject(refused);
      await store.close();
      await close();
    });
  });
});
