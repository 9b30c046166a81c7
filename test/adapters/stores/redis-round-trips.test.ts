import { createHash, randomUUID } from "node:crypto";
import { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { withIdempotency } from "../../../src/index.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { drivers } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";

describeRedisServers("redisStore counted on the wire", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.stop());
  afterEach(() => void vi.restoreAllMocks());

  /** What the store sent, by the server's own count: commands within scripts are not sent. */
  async function sent(): Promise<Record<string, number>> {
    const lines = (await askRedis(server.port, "INFO commandstats")).matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g);
    const calls = Object.fromEntries([...lines].map(([, name, count]) => [name, Number(count)]));
    const { evalsha = 0, eval: whole = 0, wait = 0 } = calls;
    return { evalsha, eval: whole, wait };
  }

  describe.each(drivers)("by $driver", ({ open }) => {
    it("needs two round trips for a first call and one for a replay", async () => {
      const { client, close } = await open(server.url);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const once = withIdempotency((input: string) => input, { store, operation: "o" });
      await once("input", { key: "warm-up" });
      await askRedis(server.port, "CONFIG RESETSTAT");
      await once("input", { key: "k" });
      expect(await sent()).toEqual({ evalsha: 2, eval: 0, wait: 0 });
      await once("input", { key: "k" });
      expect(await sent()).toEqual({ evalsha: 3, eval: 0, wait: 0 });
      await store.close();
      await close();
    });

    it("sends an outcome once, and gets none back for it", async () => {
      const { client, close } = await open(server.url);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const large = withIdempotency(() => "x".repeat(100_000), { store, operation: "large" });
      await withIdempotency(() => 1, { store, operation: "o" })("input", { key: "warm-up" });
      const bytes = async (way: "input" | "output"): Promise<number> =>
        Number(new RegExp(`total_net_${way}_bytes:(\\d+)`).exec(await askRedis(server.port, "INFO stats"))?.[1]);
      const before = { input: await bytes("input"), output: await bytes("output") };
      await large("input", { key: "k" });
      expect((await bytes("input")) - before.input).toBeGreaterThan(100_000);
      expect((await bytes("input")) - before.input).toBeLessThan(150_000);
      expect((await bytes("output")) - before.output).toBeLessThan(50_000);
      await store.executions.list({ operation: "o", limit: 10 }, { timeoutMs: 5_000 });
      expect((await bytes("output")) - before.output).toBeLessThan(50_000);
      await large("input", { key: "k" });
      expect((await bytes("output")) - before.output).toBeGreaterThan(100_000);
      await store.close();
      await close();
    });

    it("sends 64 claims that are made at once in one write or two", async () => {
      const { client, close } = await open(server.url);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const claim = (name: string) =>
        store.executions.claim(
          {
            ...{ id: createHash("sha256").update(name).digest("hex"), operation: "o", scope: "", nonce: name },
            ...{ leaseMs: 60_000, retentionMs: 60_000, onAbandoned: "takeover" },
          },
          { timeoutMs: 5_000 },
        );
      await claim("warm-up");
      await askRedis(server.port, "CONFIG RESETSTAT");
      const writes = [vi.spyOn(Socket.prototype, "_write"), vi.spyOn(Socket.prototype, "_writev" as never)];
      const claims = await Promise.all(Array.from({ length: 64 }, (_, n) => claim(`claim ${n}`)));
      expect(claims.every(({ status }) => status === "acquired")).toBe(true);
      expect(writes.reduce((sum, { mock }) => sum + mock.calls.length, 0)).toBeLessThanOrEqual(2);
      vi.restoreAllMocks();
      expect((await sent())["evalsha"]).toBe(64);
      await store.close();
      await close();
    });
  });
});
