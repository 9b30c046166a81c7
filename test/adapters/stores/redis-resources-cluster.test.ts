import { randomUUID } from "node:crypto";
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import type { CreateResource, LedgerStore, ResourceRow } from "../../../src/store.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis-cluster.ts";

const CALL = { timeoutMs: 30_000 };
/** So many that each node has some. */
const GROUPS = Array.from({ length: 12 }, (_, index) => `group ${String(index).padStart(2, "0")}`);

describeRedisServers("redisStore's resources in a cluster", () => {
  let cluster: RedisCluster;

  beforeAll(async () => {
    cluster = await startRedisCluster();
  });

  afterAll(async () => {
    await cluster?.stop();
  });

  it("work by a cluster of redis", async () => {
    const client = createCluster({ rootNodes: cluster.nodes.map((socket) => ({ socket })) });
    await client.connect();
    try {
      await goThrough(redisStore(client as never, { keyPrefix: `test:${randomUUID()}:` }));
    } finally {
      client.destroy();
    }
  });

  it("work by a Cluster of ioredis", async () => {
    const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
    try {
      await goThrough(redisStore(client as never, { keyPrefix: `test:${randomUUID()}:` }));
    } finally {
      client.disconnect();
    }
  });
});

/** Every operation, on groups of every node. */
async function goThrough(store: LedgerStore): Promise<void> {
  const { resources } = store;
  await Promise.all(
    GROUPS.map(async (group) => {
      await resources.setDesired({ group, epoch: 1, nonce: randomUUID(), desired: group }, CALL);
      expect(await resources.getDesired(group, CALL)).toEqual({ generation: 1, desired: group, epoch: 1 });
      const writes = ["a", "b"].map((id) => creation(id, group));
      const answer = await resources.apply({ group, epoch: 1, writes }, CALL);
      expect(answer.status === "decided" && answer.results.map(({ status }) => status)).toEqual(["applied", "applied"]);
      await resources.apply({ group, epoch: 1, writes: [], fences: [{ name: group, epoch: 2 }] }, CALL);
      const late = { group, epoch: 1, writes: [{ ...creation("c", group), fence: group }] };
      expect(await resources.apply({ ...late, fences: [{ name: group, epoch: 1 }] }, CALL)).toEqual({
        status: "decided",
        results: [{ status: "fenced", epoch: 2 }],
        fences: [{ name: group, epoch: 2 }],
      });
      expect(await resources.heartbeat({ group, beats: [{ id: "a" }, { id: "c" }] }, CALL)).toEqual([
        { status: "accepted" },
        { status: "missing" },
      ]);
      const { rows, cursor } = await resources.changedSince({ group, limit: 9 }, CALL);
      expect(rows.map(({ id, spec }) => `${id} ${spec}`)).toEqual([`a ${group}`, `b ${group}`]);
      expect((await resources.staleBefore({ group, ageMs: -1, limit: 9 }, CALL)).rows).toHaveLength(2);
      const { id, incarnation, version: expectedVersion, generation, attempt } = rows[1] as ResourceRow;
      const fields = { id, incarnation, expectedVersion, state: "TERMINATED", generation, attempt } as const;
      const end = { kind: "update", nonce: randomUUID(), ...fields } as const;
      await resources.apply({ group, epoch: 1, writes: [end] }, CALL);
      expect((await resources.changedSince({ group, cursor, limit: 9 }, CALL)).rows.map((row) => row.id)).toEqual([
        "b",
      ]);
      expect(await resources.purge({ group, ageMs: 0, limit: 9 }, CALL)).toEqual({ purged: 1 });
      expect((await resources.list({ group, limit: 9 }, CALL)).map((row) => row.id)).toEqual(["a"]);
      expect((await resources.get(group, "a", CALL))?.spec).toBe(group);
    }),
  );
  expect(await resources.listGroups({ limit: 99 }, CALL)).toEqual(GROUPS);
  await store.close();
}

function creation(id: string, spec: string): CreateResource {
  const fields = { state: "PROVISIONED", spec, generation: 1, attempt: 1 } as const;
  return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields };
}
