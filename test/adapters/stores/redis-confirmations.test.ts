import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClientPool } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../../adapters/stores/redis.ts";
import { RedisKeys } from "../../../adapters/stores/redis-keys.ts";
import { slotOf } from "../../../adapters/stores/redis-slots.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { inTime } from "../../support/in-time.ts";
import { clusterDrivers, drivers, type OpenClient } from "../../support/redis-clients.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis-cluster.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const TOO_FEW = { code: "STORE_UNAVAILABLE", message: "Too few replicas have the write." };

const claim = (name: string, nonce = "n") => ({
  ...{ id: createHash("sha256").update(name).digest("hex"), operation: "o", scope: "", nonce },
  ...{ leaseMs: 60_000, retentionMs: 60_000, onAbandoned: "takeover" as const },
});

async function using(
  { client, close }: OpenClient,
  options: RedisStoreOptions,
  body: (store: LedgerStore) => Promise<void>,
): Promise<void> {
  const store = redisStore(client, { keyPrefix: `${randomUUID()}:`, ...options });
  try {
    await body(store);
  } finally {
    await store.close();
    await close();
  }
}

/** Has a pipeline of a client of `redis` sent by `send` instead, the first time. */
function onNextPipeline(client: unknown, send: (execute: () => Promise<unknown>) => Promise<unknown>): void {
  const piping = client as { multi(): { execAsPipeline(): Promise<unknown> } };
  const multi = piping.multi.bind(piping);
  piping.multi = () => {
    piping.multi = multi;
    const pipeline = multi();
    const execute = pipeline.execAsPipeline.bind(pipeline);
    pipeline.execAsPipeline = () => send(execute);
    return pipeline;
  };
}

describeRedisServers("the confirmations of redisStore", () => {
  let primary: RedisServer;
  let replica: RedisServer;
  const durability = { replicas: 1, timeoutMs: 1_000 };
  beforeAll(async () => {
    primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
    replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
    // A replica that has just come up takes a while until it tells how far it is.
    await using(await drivers[0].open(primary.url), { durability }, ({ executions }) =>
      until("it replicates", async () => (await executions.claim(claim("first"), CALL)).status === "acquired"),
    );
  });
  afterAll(async () => {
    await replica?.stop();
    await primary?.stop();
  });

  const isBlocked = async (): Promise<boolean> =>
    !(await askRedis(primary.port, "INFO clients")).includes("blocked_clients:0");

  /** A pool whose connections are all there. */
  async function pool(): Promise<OpenClient> {
    const client = createClientPool({ url: primary.url }, { minimum: 3, maximum: 3 });
    await client.on("error", () => {}).connect();
    return { client: client as never, close: async () => void client.destroy() };
  }

  describe.each(drivers)("by $driver", ({ open }) => {
    it("serve those who asked while others were served", async () => {
      await using(await open(primary.url), { durability }, async ({ executions }) => {
        await executions.claim(claim("warm-up"), CALL);
        replica.pause();
        try {
          const first = executions.claim(claim("a"), CALL).catch((error: unknown) => error);
          await until("it waits", isBlocked);
          const second = executions.claim(claim("b"), CALL).catch((error: unknown) => error);
          expect(await first).toMatchObject(TOO_FEW);
          expect(await second).toMatchObject(TOO_FEW);
        } finally {
          replica.resume();
        }
      });
    });

    it("undo a claim whose WAIT outlasts the call", async () => {
      const options = { durability: { replicas: 1, timeoutMs: 60_000 } };
      await using(await open(primary.url), options, async (store) => {
        const bounded = (storeTimeoutMs: number) =>
          withIdempotency((input: string) => input, { store, operation: "o", storeTimeoutMs });
        const [once, onceInVain] = [bounded(CALL.timeoutMs), bounded(500)];
        await once("warm-up", { key: "warm-up" });
        replica.pause();
        try {
          await expect(onceInVain("input", { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
          await until("no WAIT is under way", async () => !(await isBlocked()));
          await until("it is undone", async () => (await store.executions.list({ limit: 9 }, CALL)).length === 1);
        } finally {
          replica.resume();
        }
      });
    });

    it("send the text of their script only to a server that does not have it", async () => {
      await using(await open(primary.url), { durability }, async (store) => {
        const once = withIdempotency((input: string) => input, { store, operation: "o" });
        const texts = async (): Promise<number> =>
          Number(/cmdstat_eval:calls=(\d+)/.exec(await askRedis(primary.port, "INFO commandstats"))?.[1] ?? 0);
        await once("input", { key: "warm-up" });
        await askRedis(primary.port, "CONFIG RESETSTAT");
        await once("input", { key: "a" });
        expect(await texts()).toBe(0);
        await askRedis(primary.port, "SCRIPT FLUSH");
        await store.executions.list({ limit: 1 }, CALL);
        expect(await once("input", { key: "b" })).toBe("input");
        expect(await texts()).toBeGreaterThan(0);
      });
    });
  });

  it("count for the grant that was answered, and for no other of the same nonce", async () => {
    const opened = await drivers[0].open(primary.url);
    await using(opened, { durability, keyPrefix: "tokens:" }, async ({ executions }) => {
      await executions.claim(claim("warm-up"), CALL);
      let lose = (): void => {};
      const isLost = new Promise<void>((resolve) => {
        lose = resolve;
      });
      onNextPipeline(opened.client, (execute) => isLost.then(execute));
      const claimed = executions.claim(claim("a"), CALL).catch((error: unknown) => error);
      await using(await drivers[0].open(primary.url), { keyPrefix: "tokens:" }, async (other) => {
        await until("it is granted", async () => (await other.executions.get(claim("a").id, CALL)) !== undefined);
        // As by a failover.
        await askRedis(primary.port, "FLUSHALL");
        expect(await other.executions.claim(claim("a"), CALL)).toMatchObject({ status: "acquired" });
      });
      lose();
      expect(await claimed).toMatchObject(TOO_FEW);
    });
  });

  it("hold for what another connection of a pool has written", async () => {
    await using(await pool(), { durability }, async ({ executions }) => {
      await executions.get(claim("warm-up").id, CALL);
      replica.pause();
      try {
        await expect(executions.claim(claim("a"), CALL)).rejects.toMatchObject(TOO_FEW);
      } finally {
        replica.resume();
      }
    });
  });

  it("are asked for on another connection of a pool when one is silent", async () => {
    const opened = await pool();
    await using(opened, { durability }, async ({ executions }) => {
      await executions.claim(claim("warm-up"), CALL);
      onNextPipeline(opened.client, () => new Promise(() => {}));
      const claims = [executions.claim(claim("a"), CALL)];
      await sleep(50);
      claims.push(executions.claim(claim("b"), CALL));
      const claimed = await inTime(CALL.timeoutMs / 2, Promise.all(claims));
      for (const { status } of claimed) expect(status).toBe("acquired");
    });
  });

  it("take no time of calls that come after the callers of a silent connection have given up", async () => {
    const opened = await drivers[0].open(primary.url);
    await using(opened, { durability }, async ({ executions }) => {
      await executions.claim(claim("warm-up"), CALL);
      onNextPipeline(opened.client, () => new Promise(() => {}));
      const askedAt = performance.now();
      const silent = executions.claim(claim("a"), { timeoutMs: 300 }).catch(() => {});
      await sleep(50);
      const next = executions.claim(claim("b"), CALL);
      // The confirmation of the second may serve the first as well, where that has a moment left.
      await silent;
      expect(await next).toMatchObject({ status: "acquired" });
      expect(performance.now() - askedAt).toBeGreaterThan(250);
    });
  });
});

describeRedisServers("the confirmations of redisStore on Cluster", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster?.stop());

  it.each(clusterDrivers)("hold a node's connection up by one WAIT at a time, by $driver", async ({ open }) => {
    const timeoutMs = 300;
    // One slot of each third.
    const primaries = await Promise.all(["a", "b", "c"].map((key) => cluster.primaryOf(key)));
    expect(new Set(primaries).size).toBe(3);
    const replicas = cluster.servers.filter((server) => !primaries.includes(server));
    const waits = async (): Promise<number[]> => {
      const stats = await Promise.all(primaries.map(({ port }) => askRedis(port, "INFO commandstats")));
      return stats.map((told) => Number(/cmdstat_wait:calls=(\d+)/.exec(told)?.[1] ?? 0));
    };
    await using(await open(cluster.nodes), { durability: { replicas: 1, timeoutMs } }, async (store) => {
      const told: string[] = [];
      let end = (): void => {};
      const isOver = new Promise<void>((resolve) => {
        end = resolve;
      });
      // Renewed three times as often: so long that a machine that stands still for some seconds costs nobody a lease.
      const leaseMs = 9_000;
      const options = {
        store,
        operation: "o",
        leaseMs,
        onEvent: (event: { type: string }) => void told.push(event.type),
      };
      const once = withIdempotency((input: string) => input, { store, operation: "o" });
      const hold = withIdempotency(() => isOver, options);
      const known = Array.from({ length: 12 }, (_, n) => `known ${n}`);
      for (const key of known) await until("it is confirmed", async () => (await once(key, { key })) === key);
      const held = Array.from({ length: 6 }, (_, n) => hold.run("input", { key: `held ${n}` }));
      await until("all are held", () => told.length === 6);
      await Promise.all(primaries.map(({ port }) => askRedis(port, "CONFIG RESETSTAT")));
      for (const server of replicas) server.pause();
      const startedAt = performance.now();
      try {
        let burst = 0;
        do {
          const names = Array.from({ length: 100 }, (_, n) => `${burst} ${n}`);
          burst += 1;
          // Half of the time that they would take one after the other.
          const bounds = { timeoutMs: 5_000 };
          const claims = Promise.allSettled(names.map((name) => store.executions.claim(claim(name), bounds)));
          await sleep(50);
          // Behind one WAIT for each of the claims they would stand for twice as long.
          const replays = await inTime(5_000, Promise.all(known.map((key) => once(key, { key }))));
          for (const key of replays) expect(known).toContain(key);
          for (const { reason } of (await claims) as PromiseRejectedResult[]) expect(reason).toMatchObject(TOO_FEW);
        } while (performance.now() - startedAt < 1.5 * leaseMs);
        const most = (performance.now() - startedAt) / timeoutMs + 2;
        for (const count of await waits()) expect(count).toBeLessThanOrEqual(most);
      } finally {
        for (const server of replicas) server.resume();
        end();
      }
      for (const { attempt } of await Promise.all(held)) expect(attempt).toBe(1);
      expect(told).not.toContain("lease_lost");
    });
  });

  it.each(clusterDrivers)("fail for no other slot than one that moves, by $driver", async ({ open }) => {
    const keyPrefix = `${randomUUID()}:`;
    const keyOf = (name: string): string => new RedisKeys(keyPrefix).record(claim(name).id);
    const from = await cluster.primaryOf(keyOf("moves"));
    const names = Array.from({ length: 30 }, (_, n) => `stays ${n}`);
    const places = await Promise.all(names.map((name) => cluster.primaryOf(keyOf(name))));
    const others = names.filter((_, at) => places[at] === from);
    const to = places.find((server) => server !== from) as RedisServer;
    const idOf = async ({ port }: RedisServer) => /[0-9a-f]{40}/.exec(await askRedis(port, "CLUSTER MYID"))?.[0];
    const slot = slotOf(keyOf("moves"));
    await using(
      await open(cluster.nodes),
      { keyPrefix, durability: { replicas: 1, timeoutMs: 5_000 } },
      async (store) => {
        const claimed = (name: string) => store.executions.claim(claim(name), CALL);
        await until("it is confirmed", async () => (await claimed(others[0] as string)).status === "acquired");
        await askRedis(to.port, `CLUSTER SETSLOT ${slot} IMPORTING ${await idOf(from)}`);
        await askRedis(from.port, `CLUSTER SETSLOT ${slot} MIGRATING ${await idOf(to)}`);
        try {
          const moving = claimed("moves");
          const staying = others.map(claimed);
          await expect(moving).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
          for (const { status } of await Promise.all(staying)) expect(status).toBe("acquired");
        } finally {
          for (const { port } of [to, from]) await askRedis(port, `CLUSTER SETSLOT ${slot} STABLE`);
        }
      },
    );
  });
});
