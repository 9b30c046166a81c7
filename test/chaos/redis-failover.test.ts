import { afterEach, describe, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../adapters/stores/redis.ts";
import { redisClientOf } from "../../adapters/stores/redis-client-detection.ts";
import { isEvenkeelError, withIdempotency } from "../../src/index.ts";
import { askRedis } from "../support/ask-redis.ts";
import { describeRedisServers } from "../support/engines.ts";
import { sentinelDrivers } from "../support/redis-clients.ts";
import { type RedisSentinel, startSentinel } from "../support/redis-sentinel.ts";
import { endServers } from "../support/server-process.ts";
import { until } from "../support/until.ts";

/** The bound of a call that is to succeed, however busy the machine is. */
const PATIENT_MS = 20_000;
/** The bound of a call that nobody can serve. */
const UNSERVED_MS = 2_000;
/** For how long calls that have to find the new primary first are repeated. */
const THROUGH_FAILOVER_MS = 30_000;

// A primary acknowledges a write before its replicas have it (redis.io/docs: "Redis Sentinel, consistency"), so a failover can
// take back what a caller was told. The first test shows that it does, so that docs/guarantees.md stays honest.
describeRedisServers("a failover of a Redis by Sentinel", () => {
  describe.each(sentinelDrivers)("by $driver", failsOver);
});

function failsOver({ open }: (typeof sentinelDrivers)[number]): void {
  const closing: (() => Promise<unknown> | unknown)[] = [];

  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await endServers();
  });

  async function ledgerOn(sentinel: RedisSentinel, options: RedisStoreOptions = {}) {
    const { client, close } = await open(sentinel.name, sentinel.sentinels);
    closing.push(close);
    const store = redisStore(client, options);
    closing.push(() => store.close());
    const seen = { runs: 0 };
    const bounded = (storeTimeoutMs: number) =>
      withIdempotency(
        async (_: object) => {
          seen.runs += 1;
          return `run ${seen.runs}`;
        },
        // A claim that too few replicas confirmed, and that could not be undone either, is over before a caller has waited its time.
        { store, operation: "pay", inFlight: "wait", storeTimeoutMs, leaseMs: 8_000 },
      );
    return { pay: bounded(PATIENT_MS), payInVain: bounded(UNSERVED_MS), seen };
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
    // One alone may have confirmed what came before, and be the one that is not promoted.
    await until("both replicas have what came before", async () => {
      const info = await askRedis(sentinel.primary().port, "INFO replication");
      const [, offset] = /master_repl_offset:(\d+)/.exec(info) ?? [];
      return [...info.matchAll(/,offset=(\d+)/g)].filter(([, acknowledged]) => acknowledged === offset).length === 2;
    });
    await Promise.all(replicas.map((replica) => replica.kill()));
    await during();
    await sentinel.primary().kill();
    await Promise.all(replicas.map((replica) => replica.restart()));
    await sentinel.failedOver();
  }

  it("loses an acknowledged outcome that no replica had, and the function runs again: P1 does not hold over it", async () => {
    const sentinel = await startSentinel();
    const { pay, seen } = await ledgerOn(sentinel);
    await pay({}, { key: "before" });
    await loseThePrimary(sentinel, async () => {
      expect(await pay.run({}, { key: "k" })).toMatchObject({ replayed: false, value: "run 2" });
    });
    expect(await once(pay, "k")).toMatchObject({ replayed: false, attempt: 1, value: "run 3" });
    expect(seen.runs).toBe(3);
  });

  it("loses nothing that was acknowledged with `durability`: what no replica has, does not run (I1, I19)", async () => {
    const sentinel = await startSentinel();
    const { pay, payInVain, seen } = await ledgerOn(sentinel, { durability: { replicas: 1, timeoutMs: 300 } });
    await pay({}, { key: "before" });
    await loseThePrimary(sentinel, async () => {
      await expect(payInVain({}, { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(seen.runs).toBe(1);
    });
    expect(await once(pay, "k")).toMatchObject({ replayed: false, attempt: 1, value: "run 2" });
    expect(await once(pay, "before")).toMatchObject({ replayed: true, value: "run 1" });
  });

  it("keeps what a replica has, and a store that was there before goes on without a restart (I1, I5, I14)", async () => {
    const sentinel = await startSentinel();
    const { pay, seen } = await ledgerOn(sentinel, { durability: { replicas: 2, timeoutMs: 1_000 } });
    expect(await pay.run({}, { key: "k" })).toMatchObject({ replayed: false, value: "run 1" });
    await sentinel.killPrimary();
    // Two replicas are not there any more; one is, and a replay asks for none.
    expect(await once(pay, "k")).toMatchObject({ replayed: true, value: "run 1" });
    expect(seen.runs).toBe(1);
  });

  it("carries out nothing, once there is a primary again, that nobody waits for any more", async () => {
    const sentinel = await startSentinel();
    const { client, close } = await open(sentinel.name, sentinel.sentinels);
    closing.push(close);
    const { executions, ...store } = redisStore(client, { durability: { replicas: 1, timeoutMs: 500 } });
    closing.push(() => store.close());
    const idOf = (name: string): string => name.repeat(32);
    const claim = (name: string, timeoutMs: number) => {
      const lease = { leaseMs: 60_000, retentionMs: 60_000, onAbandoned: "takeover" } as const;
      return executions.claim({ id: idOf(name), operation: "o", scope: "", nonce: "n", ...lease }, { timeoutMs });
    };
    // A busy replica may take longer than it is waited for.
    await until("it is confirmed", async () => (await claim("aa", PATIENT_MS)).status === "acquired");
    // The replicas too, so that nobody is promoted before all of the calls have been given up.
    const replicas = sentinel.replicas();
    await Promise.all([sentinel.primary(), ...replicas].map((server) => server.kill()));
    // What is sent before is under way when the connection is lost, and both drivers send that again.
    await until("the loss is seen", () => redisClientOf("the first argument", client).state !== "ready");
    for (let tries = 0; tries < 10; tries += 1) {
      await expect(claim("bb", 20)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    }
    await Promise.all(replicas.map((replica) => replica.restart()));
    await sentinel.failedOver();
    await until("the store answers", async () => {
      expect(await executions.get(idOf("bb"), { timeoutMs: PATIENT_MS })).toBeUndefined();
      return true;
    });
    // A read waits for no replicas.
    expect(await askRedis(sentinel.primary().port, "INFO commandstats")).not.toContain("cmdstat_wait");
  });
}
