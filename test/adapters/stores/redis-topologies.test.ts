import { createHash, randomUUID } from "node:crypto";
import { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { compareRecency } from "../../../src/execution-record.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { clusterDrivers, type OpenClient, sentinelDrivers } from "../../support/redis-clients.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis-cluster.ts";
import { type RedisSentinel, startSentinel } from "../../support/redis-sentinel.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const id = (name: string): string => createHash("sha256").update(name).digest("hex");

const claim = (name: string, nonce: string, leaseMs = 60_000) => ({
  ...{ id: id(name), operation: "charge", scope: "", nonce, leaseMs },
  ...{ retentionMs: 60_000, onAbandoned: "takeover" as const },
});

describeRedisServers("redisStore on Sentinel", () => {
  let sentinel: RedisSentinel;
  beforeAll(async () => {
    sentinel = await startSentinel();
  });
  afterAll(() => sentinel?.stop());
  afterEach(() => void vi.restoreAllMocks());

  describe.each(sentinelDrivers)("by $driver", ({ open }) => {
    keepsTheContract(() => open(sentinel.name, sentinel.sentinels));

    it.each([undefined, { replicas: 1, timeoutMs: 5_000 }])(
      "sends 64 claims that are made at once together, with durability %o",
      async (durability) => {
        const { client, close } = await open(sentinel.name, sentinel.sentinels);
        const store = redisStore(client, { keyPrefix: `${randomUUID()}:`, ...(durability && { durability }) });
        const acquire = (name: string) => store.executions.claim(claim(name, "n"), CALL);
        await acquire("warm-up");
        const writes = [vi.spyOn(Socket.prototype, "_write"), vi.spyOn(Socket.prototype, "_writev" as never)];
        const claims = await Promise.all(Array.from({ length: 64 }, (_, n) => acquire(`claim ${n}`)));
        expect(claims.every(({ status }) => status === "acquired")).toBe(true);
        // One or two, and what the driver asks a Sentinel meanwhile.
        expect(writes.reduce((sum, { mock }) => sum + mock.calls.length, 0)).toBeLessThan(16);
        await store.close();
        await close();
      },
    );

    it("goes on after a failover, without a restart", async () => {
      const { client, close } = await open(sentinel.name, sentinel.sentinels);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const once = withIdempotency((input: string) => input, { store, operation: "o", storeTimeoutMs: 10_000 });
      await once("before", { key: "before" });
      await sentinel.failover();
      await until("a call succeeds", () =>
        once("after", { key: "after" }).then(
          () => true,
          () => false,
        ),
      );
      await store.close();
      await close();
    });
  });
});

describeRedisServers("redisStore on Cluster", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster?.stop());

  describe.each(clusterDrivers)("by $driver", ({ open }) => {
    keepsTheContract(() => open(cluster.nodes));

    it("goes on after a failover, without a restart", async () => {
      const { client, close } = await open(cluster.nodes);
      const store = redisStore(client, { keyPrefix: `${randomUUID()}:` });
      const once = withIdempotency((input: string) => input, { store, operation: "o", storeTimeoutMs: 10_000 });
      const keys = Array.from({ length: 20 }, (_, index) => `key ${index}`);
      for (const key of keys) await once(key, { key });
      await cluster.failover();
      for (const key of keys) {
        await until("a call succeeds", () =>
          once(key, { key }).then(
            (value) => value === key,
            () => false,
          ),
        );
      }
      await store.close();
      await close();
    });
  });
});

function keepsTheContract(open: () => Promise<OpenClient>): void {
  async function using(body: (store: LedgerStore, other: LedgerStore) => Promise<void>, options = {}): Promise<void> {
    const opened = await Promise.all([open(), open()]);
    const keyPrefix = `${randomUUID()}:`;
    const [store, other] = opened.map(({ client }) => redisStore(client, { keyPrefix, ...options }));
    try {
      await body(store as LedgerStore, other as LedgerStore);
    } finally {
      await Promise.all([store?.close(), other?.close()]);
      for (const { close } of opened) await close();
    }
  }

  it("runs a function once for many callers, and replays it", () =>
    using(async (store, other) => {
      let runs = 0;
      const call = (on: LedgerStore) =>
        withIdempotency(async () => ++runs, { store: on, operation: "o", inFlight: "wait" });
      const [a, b] = [call(store), call(other)];
      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => (n % 2 ? a : b)("input", { key: "k" })));
      expect(new Set(answers)).toEqual(new Set([1]));
      expect(runs).toBe(1);
    }));

  it("spreads records, lists them in order, and takes over what was abandoned", () =>
    using(async (store, { executions }) => {
      const names = Array.from({ length: 30 }, (_, n) => `record ${n}`);
      const claims = await Promise.all(names.map((name) => store.executions.claim(claim(name, "n1", 1), CALL)));
      expect(claims.every(({ status }) => status === "acquired")).toBe(true);
      const listed = await executions.list({ limit: 100 }, CALL);
      expect(listed.map(({ id }) => id)).toEqual(names.map(id).sort());
      const recent = await executions.recent({ limit: 100 }, CALL);
      expect(recent.map(({ id }) => id)).toEqual(listed.sort(compareRecency).map(({ id }) => id));
      expect(await executions.countExpired(CALL)).toEqual({ count: 0 });
      await until("the lease has lapsed", async () => {
        const again = await executions.claim(claim("record 0", "n2"), CALL);
        return again.status === "acquired" && again.attempt === 2;
      });
    }));

  it("wakes who watches on another client", () =>
    using(async (store, other) => {
      const held = await store.executions.claim(claim("watched", "n1"), CALL);
      if (held.status !== "acquired") throw new Error(held.status);
      let wakes = 0;
      const stop = other.executions.watch?.(id("watched"), () => {
        wakes += 1;
      });
      // Subscribing wakes once by itself.
      await until("it listens", () => wakes === 1);
      const outcome = { kind: "value" as const, bytes: Uint8Array.of(0, 255) };
      const holder = { id: id("watched"), token: held.token, nonce: "n1" };
      await store.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, CALL);
      await until("it is woken", () => wakes === 2);
      stop?.();
    }));

  it("keeps leases", () =>
    using(async ({ leases }, other) => {
      const asked = { name: "leader", holder: "a", nonce: "n1", durationMs: 60_000 };
      const acquired = await leases.acquire(asked, CALL);
      expect(acquired.status).toBe("acquired");
      expect(await other.leases.acquire({ ...asked, holder: "b", nonce: "n2" }, CALL)).toMatchObject({
        status: "held",
      });
      expect(await other.leases.list("lead", CALL)).toHaveLength(1);
    }));

  it("waits for replicas where durability is asked for", () =>
    using(
      async (store) => {
        const once = withIdempotency((input: string) => input, { store, operation: "o" });
        expect(await once("value", { key: "k" })).toBe("value");
        expect(await once("value", { key: "k" })).toBe("value");
      },
      { durability: { replicas: 1, timeoutMs: 5_000 } },
    ));
}
