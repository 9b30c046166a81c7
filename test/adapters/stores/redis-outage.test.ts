import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../../adapters/stores/redis.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { drivers, type OpenClient } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

const STORE_TIMEOUT_MS = 500;
/** What the machine may take to run a timer. */
const SLACK_MS = 1_000;

describeRedisServers("redisStore while its server is away", () => {
  let server: RedisServer;
  let unhandled: unknown[];
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
  beforeEach(async () => {
    unhandled = [];
    process.on("unhandledRejection", onUnhandled);
    server = await startRedis();
  });
  afterEach(async () => {
    await server.stop();
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });

  describe.each(drivers)("by $driver", ({ open }) => {
    let opened: OpenClient;
    let store: LedgerStore;
    let runs: number;
    let tokens: number[];

    async function use(url = server.url, options: RedisStoreOptions = {}): Promise<void> {
      opened = await open(url);
      store = redisStore(opened.client, options);
      runs = 0;
      tokens = [];
    }
    afterEach(async () => {
      await store.close();
      await opened.close();
    });

    const once = (key: string): Promise<number> =>
      withIdempotency(
        (_: string, ctx) => {
          tokens.push(ctx.fencingToken);
          runs += 1;
          return runs;
        },
        { store, operation: "o", storeTimeoutMs: STORE_TIMEOUT_MS },
      )("input", { key });

    async function refusesInTime(key: string): Promise<void> {
      const before = runs;
      const startedAt = performance.now();
      await expect(once(key)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", cause: expect.anything() });
      expect(performance.now() - startedAt).toBeLessThan(STORE_TIMEOUT_MS + SLACK_MS);
      expect(runs).toBe(before);
    }

    it("is STORE_UNAVAILABLE in time when it is stopped, and goes on when it does", async () => {
      await use();
      expect(await once("a")).toBe(1);
      server.pause();
      await refusesInTime("b");
      await Promise.all(Array.from({ length: 20 }, (_, n) => refusesInTime(`c${n}`)));
      server.resume();
      expect(await once("d")).toBe(2);
      expect(await once("a")).toBe(1);
    });

    it("is STORE_UNAVAILABLE in time on its very first use too", async () => {
      await use();
      server.pause();
      await refusesInTime("a");
      server.resume();
      expect(await once("b")).toBe(1);
    });

    it("is STORE_UNAVAILABLE in time when it was killed, and goes on after its restart with higher tokens (I3)", async () => {
      await use();
      expect(await once("a")).toBe(1);
      await server.kill();
      await refusesInTime("b");
      await Promise.all(Array.from({ length: 20 }, (_, n) => refusesInTime(`c${n}`)));
      await server.restart();
      await until("a call succeeds", () =>
        once("d").then(
          () => true,
          () => false,
        ),
      );
      expect(await once("a")).toBe(1);
      await askRedis(server.port, "FLUSHALL");
      await once("a");
      await askRedis(server.port, "FLUSHALL");
      await once("a");
      expect(tokens.length).toBeGreaterThan(3);
      expect([...new Set(tokens)].sort((a, b) => a - b)).toEqual(tokens);
    });

    it("knows its scripts again after SCRIPT FLUSH", async () => {
      await use();
      expect(await once("a")).toBe(1);
      await askRedis(server.port, "SCRIPT FLUSH");
      expect(await Promise.all([once("a"), once("b"), once("c")])).toHaveLength(3);
      expect(runs).toBe(3);
    });

    it("hears its own answer again when a reply was cut", async () => {
      const proxy = await startTcpProxy(server);
      await use(proxy.url(server.url));
      await once("warm-up");
      runs = 0;
      for (const matching of ["EVALSHA", "value"]) {
        const cut = proxy.cutReply({ matching: (request) => request.includes(matching) });
        expect(await once(matching)).toBeGreaterThan(0);
        await cut;
      }
      expect(runs).toBe(2);
      await proxy.stop();
    });

    it("is STORE_UNAVAILABLE when too few replicas confirm, and runs once when they do", async () => {
      const replica = await startRedis({
        args: ["--replicaof", "127.0.0.1", String(server.port), "--repl-diskless-sync-delay", "0"],
      });
      await until("it follows", async () =>
        (await askRedis(replica.port, "INFO replication")).includes("link_status:up"),
      );
      await use(server.url, { durability: { replicas: 1, timeoutMs: 100 } });
      expect(await once("a")).toBe(1);
      replica.pause();
      await refusesInTime("b");
      replica.resume();
      await until("the replica confirms", () =>
        once("c").then(
          () => true,
          () => false,
        ),
      );
      expect(await once("a")).toBe(1);
      await replica.stop();
    });

    it("wakes watchers again after the subscriber's connection was lost", async () => {
      await use();
      let wakes = 0;
      store.executions.watch?.("ab".repeat(32), () => {
        wakes += 1;
      });
      await until("it listens", () => wakes === 1);
      await askRedis(server.port, "CLIENT KILL TYPE pubsub");
      await until("it hears again", async () => {
        await askRedis(server.port, `PUBLISH evenkeel:wake:${"ab".repeat(32)} x`);
        return wakes > 1;
      });
    });
  });
});
