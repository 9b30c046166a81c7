import { Redis } from "ioredis";
import { afterEach, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../adapters/stores/redis.ts";
import { isEvenkeelError, withIdempotency } from "../../src/index.ts";
import { describeRedisServers } from "../support/engines.ts";
import { type RedisSentinel, startSentinel } from "../support/redis-sentinel.ts";
import { endServers } from "../support/server-process.ts";

/** The bound of a call that has to find the new primary first. */
const THROUGH_FAILOVER_MS = 20_000;

// A primary acknowledges a write before its replicas have it (redis.io/docs: "Redis Sentinel, consistency"), so a failover can
// take back what a caller was told. The first test shows that it does, so that docs/guarantees.md stays honest.
describeRedisServers("a failover of a Redis by Sentinel", () => {
  const closing: (() => Promise<unknown> | unknown)[] = [];

  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await endServers();
  });

  async function ledgerOn(sentinel: RedisSentinel, options: RedisStoreOptions = {}) {
    const { name, sentinels } = sentinel;
    const client = new Redis({ name, sentinels: [...sentinels], sentinelRetryStrategy: () => 100, lazyConnect: true });
    client.on("error", () => {});
    await client.connect();
    closing.push(() => client.disconnect());
    const store = redisStore(client, options);
    closing.push(() => store.close());
    const seen = { runs: 0 };
    const pay = withIdempotency(
      async (_: object) => {
        seen.runs += 1;
        return `run ${seen.runs}`;
      },
      { store, operation: "pay", inFlight: "wait", storeTimeoutMs: 2_000 },
    );
    return { pay, seen };
  }

  type Payment = Awaited<ReturnType<typeof ledgerOn>>["pay"];

  /** Asks until the ledger answers again. */
  async function once(pay: Payment, key: string) {
    const startedAt = performance.now();
    for (;;) {
      try {
        return await pay.run({}, { key });
      } catch (error) {
        const isDown = isEvenkeelError(error) && error.code === "STORE_UNAVAILABLE";
        if (!isDown || performance.now() - startedAt > THROUGH_FAILOVER_MS) throw error;
      }
    }
  }

  /**
   * Replaces the primary by replicas that have seen nothing since `during` began: they are down until the primary is. (Stopped
   * ones would find what they missed in their sockets.)
   */
  async function loseThePrimary(sentinel: RedisSentinel, during: () => Promise<void>): Promise<void> {
    const replicas = sentinel.replicas();
    await Promise.all(replicas.map((replica) => replica.kill()));
    await during();
    await sentinel.primary().kill();
    await Promise.all(replicas.map((replica) => replica.restart()));
    await sentinel.failedOver();
  }

  it("loses an acknowledged outcome that no replica had, and the function runs again: P1 does not hold over it", {
    retry: 2,
  }, async () => {
    const sentinel = await startSentinel();
    const { pay, seen } = await ledgerOn(sentinel);
    await pay({}, { key: "before" });
    await loseThePrimary(sentinel, async () => {
      expect(await pay.run({}, { key: "k" })).toMatchObject({ replayed: false, value: "run 2" });
    });
    expect(await once(pay, "k")).toMatchObject({ replayed: false, attempt: 1, value: "run 3" });
    expect(seen.runs).toBe(3);
  });

  it("loses nothing that was acknowledged with `durability`: what no replica has, does not run (I1, I19)", {
    retry: 2,
  }, async () => {
    const sentinel = await startSentinel();
    const { pay, seen } = await ledgerOn(sentinel, { durability: { replicas: 1, timeoutMs: 300 } });
    await pay({}, { key: "before" });
    await loseThePrimary(sentinel, async () => {
      await expect(pay({}, { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(seen.runs).toBe(1);
    });
    expect(await once(pay, "k")).toMatchObject({ replayed: false, attempt: 1, value: "run 2" });
    expect(await once(pay, "before")).toMatchObject({ replayed: true, value: "run 1" });
  });

  it("keeps what a replica has, and a store that was there before goes on without a restart (I1, I5, I14)", {
    retry: 2,
  }, async () => {
    const sentinel = await startSentinel();
    const { pay, seen } = await ledgerOn(sentinel, { durability: { replicas: 2, timeoutMs: 1_000 } });
    expect(await pay.run({}, { key: "k" })).toMatchObject({ replayed: false, value: "run 1" });
    await sentinel.killPrimary();
    // Two replicas are not there any more; one is, and a replay asks for none.
    expect(await once(pay, "k")).toMatchObject({ replayed: true, value: "run 1" });
    expect(seen.runs).toBe(1);
  });
});
