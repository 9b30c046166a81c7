import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../../adapters/stores/redis.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { holdClaim } from "../../support/held-claim.ts";
import { inTime } from "../../support/in-time.ts";
import { drivers, type OpenClient } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

/** Of a call that is to succeed, however busy the machine is. */
const PATIENT_MS = 20_000;
/** Of a call that nobody serves, and within what it is refused. */
const UNSERVED_MS = 500;
const UNSERVED_AT_MOST_MS = 5_000;

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

  it("is STORE_UNAVAILABLE in time while it is stopped for 5 s; then all goes on, a held claim too (I1, I19)", async () => {
    const services = await Promise.all(
      drivers.map(async ({ driver, open }) => {
        const opened = await open(server.url);
        const store = redisStore(opened.client, { keyPrefix: `${driver}:` });
        let runs = 0;
        const bounded = (storeTimeoutMs: number) =>
          withIdempotency((_: string) => ++runs, { store, operation: "o", storeTimeoutMs });
        const [once, onceInVain] = [bounded(PATIENT_MS), bounded(UNSERVED_MS)];
        expect(await once("input", { key: "a" })).toBe(1);
        const held = await holdClaim(store, "held");
        return { opened, store, held, once, onceInVain, runs: () => runs };
      }),
    );
    const areRefusedInTime = async (...keys: string[]): Promise<void> => {
      const calls = services.flatMap(({ onceInVain }) => keys.map((key) => onceInVain("input", { key })));
      for (const call of await inTime(UNSERVED_AT_MOST_MS, Promise.allSettled(calls))) {
        expect(call).toMatchObject({ reason: { code: "STORE_UNAVAILABLE", cause: expect.anything() } });
      }
    };
    server.pause();
    const isStopped = sleep(5_000);
    await areRefusedInTime("a", "b");
    await areRefusedInTime(...Array.from({ length: 20 }, (_, n) => `c${n}`));
    await isStopped;
    expect(services.map(({ runs }) => runs())).toEqual([1, 1]);
    server.resume();
    for (const { opened, store, held, once } of services) {
      expect(await once("input", { key: "d" })).toBe(2);
      expect(await once("input", { key: "a" })).toBe(1);
      await held.isRenewedAndCompletesOnce();
      await store.close();
      await opened.close();
    }
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

    const once = (key: string, storeTimeoutMs = PATIENT_MS): Promise<number> =>
      withIdempotency(
        (_: string, ctx) => {
          tokens.push(ctx.fencingToken);
          runs += 1;
          return runs;
        },
        { store, operation: "o", storeTimeoutMs },
      )("input", { key });

    async function refusesInTime(key: string): Promise<void> {
      const before = runs;
      await expect(inTime(UNSERVED_AT_MOST_MS, once(key, UNSERVED_MS))).rejects.toMatchObject({
        code: "STORE_UNAVAILABLE",
        cause: expect.anything(),
      });
      expect(runs).toBe(before);
    }

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

    it("runs each key once while SCRIPT FLUSH comes again and again in the midst of calls (I1)", async () => {
      await use();
      await once("warm-up");
      await askRedis(server.port, "CONFIG RESETSTAT");
      let isOver = false;
      const keys = Array.from({ length: 1_000 }, (_, n) => `key ${n}`);
      const calls = Promise.all(
        Array.from({ length: 50 }, async (_, lane) => {
          // The first one runs it, and the second one is told what came of it.
          for (let n = lane; n < keys.length; n += 50) {
            const key = keys[n] as string;
            expect(await once(key)).toBe(await once(key));
          }
        }),
      ).finally(() => {
        isOver = true;
      });
      let flushes = 0;
      for (; !isOver; flushes += 1) await askRedis(server.port, "SCRIPT FLUSH");
      await calls;
      expect(runs).toBe(1 + keys.length);
      expect(flushes).toBeGreaterThan(5);
      // What was sent whole, because the server had forgotten it.
      const evals = /cmdstat_eval:calls=(\d+)/.exec(await askRedis(server.port, "INFO commandstats"))?.[1];
      expect(Number(evals)).toBeGreaterThan(5);
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
