import { createHash, randomUUID } from "node:crypto";
import { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { withIdempotency } from "../../../src/index.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { drivers } from "../../support/redis-clients.ts";
import { type RedisRelay, startRedisRelay } from "../../support/redis-relay.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";

describeRedisServers("redisStore counted on the wire", () => {
  let server: RedisServer;
  let relay: RedisRelay;
  beforeAll(async () => {
    server = await startRedis();
    relay = await startRedisRelay(server.port);
  });
  afterAll(async () => {
    await relay?.stop();
    await server?.stop();
  });
  afterEach(() => void vi.restoreAllMocks());

  /** The commands that came since this was last asked. */
  const sent = (): string[] => relay.commands.splice(0);

  describe.each(drivers)("by $driver", ({ open }) => {
    it("needs two round trips for a first call and one for a replay", async () => {
      const { client, close } = await open(relay.url);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const once = withIdempotency((input: string) => input, { store, operation: "o" });
      await once("input", { key: "warm-up" });
      // The connection's greeting and the check of the server's settings, which come once, are among them.
      expect(sent()).toContain("INFO");
      await once("input", { key: "k" });
      expect(sent()).toEqual(["EVALSHA", "EVALSHA"]);
      await once("input", { key: "k" });
      expect(sent()).toEqual(["EVALSHA"]);
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
      await store.executions.list({ operation: "o", limit: 10 }, { timeoutMs: 20_000 });
      expect((await bytes("output")) - before.output).toBeLessThan(50_000);
      await large("input", { key: "k" });
      expect((await bytes("output")) - before.output).toBeGreaterThan(100_000);
      await store.close();
      await close();
    });

    it("sends 64 claims that are made at once in one write or two", async () => {
      const { client, close } = await open(relay.url);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const claim = (name: string) =>
        store.executions.claim(
          {
            ...{ id: createHash("sha256").update(name).digest("hex"), operation: "o", scope: "", nonce: name },
            ...{ leaseMs: 60_000, retentionMs: 60_000, onAbandoned: "takeover" },
          },
          { timeoutMs: 20_000 },
        );
      await claim("warm-up");
      sent();
      const isClient = ({ remotePort }: Socket): boolean => remotePort === relay.port;
      const writes = [vi.spyOn(Socket.prototype, "_write"), vi.spyOn(Socket.prototype, "_writev" as never)];
      const claims = await Promise.all(Array.from({ length: 64 }, (_, n) => claim(`claim ${n}`)));
      expect(claims.every(({ status }) => status === "acquired")).toBe(true);
      // The relay writes as well, to the server and to no port of its own.
      const byClient = writes.flatMap(({ mock }) => mock.contexts as Socket[]).filter(isClient);
      expect(byClient.length).toBeGreaterThan(0);
      expect(byClient.length).toBeLessThanOrEqual(2);
      vi.restoreAllMocks();
      expect(sent()).toEqual(Array.from({ length: 64 }, () => "EVALSHA"));
      await store.close();
      await close();
    });
  });
});
