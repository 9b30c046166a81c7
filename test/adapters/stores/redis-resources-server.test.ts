import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import type { CreateResource, LedgerStore, ResourceRow, ResourceStore } from "../../../src/store.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";

const CALL = { timeoutMs: 60_000 };
const SMALL = { group: "small", rows: 500 };
const LARGE = { group: "large", rows: 50_000 };

describeRedisServers("redisStore's resources on a server of their own", () => {
  let server: RedisServer;
  let client: ReturnType<typeof createClient>;
  let store: LedgerStore;
  let resources: ResourceStore;

  beforeAll(async () => {
    server = await startRedis({ args: ["--appendfsync", "no"] });
    client = createClient({ url: server.url });
    await client.connect();
    store = redisStore(client as never);
    resources = store.resources;
    for (const { group, rows } of [SMALL, LARGE]) {
      for (let at = 0; at < rows; at += 500) {
        const writes = Array.from({ length: 500 }, (_, index) => creation(idOf(at + index)));
        await resources.apply({ group, epoch: 0, writes }, CALL);
      }
    }
  });

  afterAll(async () => {
    await store?.close();
    client?.destroy();
    await server?.stop();
  });

  /** What a question makes the server do: how many commands, and the microseconds of the quickest of several tries. */
  async function costOf(ask: () => Promise<unknown>): Promise<{ commands: number; micros: number }> {
    const tries: { commands: number; micros: number }[] = [];
    for (let count = 0; count < 7; count += 1) {
      await client.sendCommand(["CONFIG", "RESETSTAT"]);
      await ask();
      const stats = [...(await client.info("commandstats")).matchAll(/cmdstat_([a-z|]+):calls=(\d+),usec=(\d+)/g)];
      const within = stats.filter(([, name = ""]) => !/^(config|info|eval)/.test(name));
      const commands = within.reduce((sum, [, , calls]) => sum + Number(calls), 0);
      const scripts = stats.filter(([, name = ""]) => name.startsWith("eval"));
      tries.push({ commands, micros: scripts.reduce((sum, [, , , usec]) => sum + Number(usec), 0) });
    }
    return tries.reduce((least, each) => (each.micros < least.micros ? each : least));
  }

  it.each<[string, (group: string) => Promise<() => Promise<unknown>>]>([
    [
      "changes where nothing is new",
      async (group) => {
        const { cursor } = await resources.changedSince({ group, limit: 99_999 }, CALL);
        return async () => {
          expect((await resources.changedSince({ group, cursor, limit: 1_000 }, CALL)).rows).toEqual([]);
        };
      },
    ],
    [
      "silent rows where all are alive",
      async (group) => async () => {
        expect((await resources.staleBefore({ group, ageMs: 600_000, limit: 1_000 }, CALL)).rows).toEqual([]);
      },
    ],
    [
      "tombstones where there are none",
      async (group) => () => resources.purge({ group, ageMs: 0, limit: 1_000 }, CALL),
    ],
    [
      "a page of the list",
      async (group) => () => resources.list({ group, limit: 10, after: { id: idOf(250), incarnation: 1 } }, CALL),
    ],
    ["a row", async (group) => () => resources.get(group, idOf(77), CALL)],
    [
      "heartbeats",
      async (group) => () =>
        resources.heartbeat({ group, beats: [{ id: idOf(1) }, { id: idOf(2), incarnation: 1 }] }, CALL),
    ],
    [
      "a write",
      async (group) => async () => {
        const row = (await resources.get(group, idOf(9), CALL)) as ResourceRow;
        const { id, incarnation, version: expectedVersion, state, generation, attempt } = row;
        const fields = { id, incarnation, expectedVersion, state, generation, attempt };
        const write = { kind: "update", nonce: randomUUID(), ...fields } as const;
        await resources.apply({ group, epoch: 0, writes: [write] }, CALL);
      },
    ],
  ])("%s cost the same among 500 rows and among 50,000", async (_, prepare) => {
    const small = await costOf(await prepare(SMALL.group));
    const large = await costOf(await prepare(LARGE.group));
    expect(large.commands).toBe(small.commands);
    expect(large.commands).toBeLessThan(60);
    // A hundred times as many rows; a tree is one and a half times as deep.
    expect(large.micros).toBeLessThan(10 * small.micros + 1_000);
  });

  it("looks at a thousand rows a script, and no more, for states that few rows are in", async () => {
    const longest = async (): Promise<number> => {
      await client.sendCommand(["CONFIG", "RESETSTAT"]);
      expect(await resources.list({ group: LARGE.group, limit: 5, states: ["FAILED"] }, CALL)).toEqual([]);
      const stats = await client.info("commandstats");
      const callsOf = (name: string): number => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1]);
      expect(callsOf("hget")).toBe(LARGE.rows);
      return callsOf("hget") / callsOf("evalsha");
    };
    expect(await longest()).toBeLessThanOrEqual(1_000);
  });

  it("takes five thousand heartbeats, and five hundred writes of ten kilobytes, at once", async () => {
    const { group } = LARGE;
    const beats = Array.from({ length: 5_000 }, (_, index) => ({ id: idOf(index) }));
    const answers = await resources.heartbeat({ group, beats }, CALL);
    expect(answers.filter(({ status }) => status === "accepted")).toHaveLength(5_000);
    const spec = "é".repeat(5_000);
    const rows = await resources.list({ group, limit: 500 }, CALL);
    const writes = rows.map(({ id, incarnation, version: expectedVersion, generation, attempt }) => {
      const fields = { id, incarnation, expectedVersion, state: "FAILED", generation, attempt, spec } as const;
      return { kind: "update", nonce: randomUUID(), ...fields } as const;
    });
    const applied = await resources.apply({ group, epoch: 0, writes }, CALL);
    expect(applied.status === "decided" && applied.results.every(({ status }) => status === "applied")).toBe(true);
    const failed = await resources.list({ group, limit: 1_000, states: ["FAILED"] }, CALL);
    expect(failed.filter((row) => row.spec === spec)).toHaveLength(500);
  });

  it("goes on when the server forgets its scripts", async () => {
    const group = "forgotten";
    const beat = () => resources.heartbeat({ group, beats: [{ id: "web-1" }] }, CALL);
    for (let after = 0; after < 5; after += 1) {
      await client.scriptFlush();
      const writes = [{ ...creation("web-1"), after }];
      const answer = await resources.apply({ group, epoch: 0, writes }, CALL);
      expect(answer.status === "decided" && answer.results[0]?.status).toBe("applied");
      await client.scriptFlush();
      expect(await beat()).toEqual([{ status: "accepted" }]);
    }
    expect((await resources.get(group, "web-1", CALL))?.incarnation).toBe(5);
  });

  it("refuses whole batches, and still purges, while the server is full", async () => {
    const group = "full";
    const writes = [{ ...creation("old"), state: "TERMINATED" } as const, creation("web-1")];
    await resources.apply({ group, epoch: 0, writes }, CALL);
    await client.configSet("maxmemory", "1mb");
    try {
      const request = { group, epoch: 1, writes: [creation("web-2")], status: "more" };
      await expect(resources.apply(request, CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(await resources.purge({ group, ageMs: 0, limit: 9 }, CALL)).toEqual({ purged: 1 });
    } finally {
      await client.configSet("maxmemory", "0");
    }
    expect(await resources.getDesired(group, CALL)).toEqual({ generation: 0, epoch: 0 });
    const made = await resources.apply({ group, epoch: 1, writes: [creation("old")] }, CALL);
    expect(made.status === "decided" && made.results[0]?.row?.incarnation, "above what was purged").toBe(2);
    expect((await resources.list({ group, limit: 9 }, CALL)).map(({ id }) => id)).toEqual(["old", "web-1"]);
  });

  it("keeps what it answered over a kill of the server", async () => {
    const group = "killed";
    const durable = await startRedis();
    const own = createClient({ url: durable.url });
    own.on("error", () => {});
    await own.connect();
    const store = redisStore(own as never);
    try {
      const writes = [creation("web-1")];
      await store.resources.apply({ group, epoch: 3, writes }, CALL);
      const { cursor } = await store.resources.changedSince({ group, limit: 9 }, CALL);
      const row = await store.resources.get(group, "web-1", CALL);
      await durable.restart();
      const again = await store.resources.get(group, "web-1", CALL);
      expect({ ...again, readAt: 0 }).toEqual({ ...row, readAt: 0 });
      const repeated = await store.resources.apply({ group, epoch: 3, writes }, CALL);
      expect(repeated.status === "decided" && repeated.results[0]?.status).toBe("applied");
      const changes = await store.resources.changedSince({ group, cursor, limit: 9 }, CALL);
      expect(changes).toEqual({ rows: [], cursor, reset: false });
    } finally {
      await store.close();
      own.destroy();
      await durable.stop();
    }
  });
});

function creation(id: string): CreateResource {
  const fields = { state: "PROVISIONED", spec: '{"size":2}', generation: 1, attempt: 1 } as const;
  return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields };
}

function idOf(index: number): string {
  return `web-${String(index).padStart(6, "0")}`;
}
