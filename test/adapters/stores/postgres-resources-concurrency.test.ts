import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import type { CreateResource, ResourceRow, ResourceStore, ResourceWrite } from "../../../src/store.ts";
import { seededRandom } from "../../../src/testing/index.ts";
import { databaseUrl, describePostgres } from "../../support/engines.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

describePostgres("resources of postgresStore under concurrent writers", () => {
  let url: string;
  const pools: pg.Pool[] = [];
  const stores: PostgresStore[] = [];

  beforeEach(async () => {
    url = await databaseUrl();
  });
  const close = async (): Promise<void> => {
    for (const store of stores.splice(0)) await store.close();
    for (const pool of pools.splice(0)) await pool.end();
  };
  afterEach(close);

  function openPool(max: number, isolation = "read committed"): pg.Pool {
    const options = `-c default_transaction_isolation=${isolation.replace(" ", "\\ ")}`;
    const pool = new pg.Pool({ connectionString: url, max, options });
    pools.push(pool);
    return pool;
  }

  function open(pool: pg.Pool): ResourceStore {
    const store = postgresStore(pool);
    stores.push(store);
    return store.resources;
  }

  describe.each(["read committed", "repeatable read", "serializable"])("whose transactions are %s", (isolation) => {
    it("lets a reader of changes miss nothing", async () => {
      const pool = openPool(9, isolation);
      expect((await pool.query("SHOW transaction_isolation")).rows).toEqual([{ transaction_isolation: isolation }]);
      const resources = open(pool);
      const reader = changesReader(resources);
      let writing = true;
      const reading = (async () => {
        while (writing) await reader.poll();
      })();
      const random = seededRandom(7);
      const writers = Array.from({ length: 8 }, (_, writer) => writeAtRandom(resources, random, `w${writer}`, 25));
      const applied = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0);
      writing = false;
      await reading;
      await reader.poll();
      const rows = await resources.list({ group, limit: 1_000 }, CALL);
      expect(applied).toBeGreaterThan(100);
      expect(rows.map(({ version }) => version).reduce((sum, version) => sum + version, 0)).toBe(applied);
      expect(reader.seen).toEqual(new Map(rows.map(({ id, version }) => [id, version])));
    });

    it("stamps and writes the same rows in any order, without a deadlock", async () => {
      const resources = open(openPool(9, isolation));
      const ids = Array.from({ length: 120 }, (_, index) => `web-${index}`);
      let rows = await applied(
        resources,
        ids.map((id) => creation(id, "first")),
      );
      const random = seededRandom(11);
      const beating = Array.from({ length: 5 }, async () => {
        for (let round = 0; round < 15; round += 1) {
          const beats = shuffled(ids, random).map((id) => ({ id }));
          const answers = await resources.heartbeat({ group, beats }, CALL);
          expect(new Set(answers.map(({ status }) => status))).toEqual(new Set(["accepted"]));
        }
      });
      const writing = (async () => {
        for (let round = 0; round < 15; round += 1) {
          rows = await applied(
            resources,
            shuffled(rows, random).map((row) => update(row, `round ${round}`)),
          );
        }
      })();
      await Promise.all([...beating, writing]);
      const after = await resources.list({ group, limit: 1_000 }, CALL);
      expect(new Set(after.map(({ version }) => version))).toEqual(new Set([16]));
      expect(after.every(({ lastHeartbeatAt }) => lastHeartbeatAt !== undefined)).toBe(true);
      await close();
      expect(await deadlocks(url)).toBe(0);
    });
  });

  describe.each(["COMMIT", "ROLLBACK"])("of whom one is slow to %s", (end) => {
    it("lets no reader pass over what is not committed yet", async () => {
      const pool = openPool(4);
      const resources = open(pool);
      await applied(resources, [creation("before", "n")]);
      const reader = changesReader(resources);
      await reader.poll();
      const slow = await pool.connect();
      try {
        await slow.query("BEGIN");
        const writes = JSON.stringify([{ ...creation("slow", "n") }]);
        const { rows } = await slow.query("SELECT * FROM evenkeel_apply_resources($1, 0, NULL, NULL, $2, 1000)", [
          group,
          writes,
        ]);
        expect(rows.length).toBe(2);
        const fast = applied(resources, [creation("fast", "n")]);
        await until("the next writer waits for the group", async () => {
          const waiting =
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
          return (await pool.query(waiting)).rows.length === 1;
        });
        await reader.poll();
        expect([...reader.seen.keys()]).toEqual(["before"]);
        const moment = await pool.query("SELECT evenkeel_now() AS now");
        await slow.query(end);
        const [row] = await fast;
        expect(row?.createdAt, "who waited lives in the present").toBeGreaterThanOrEqual(Number(moment.rows[0].now));
      } finally {
        slow.release();
      }
      await reader.poll();
      expect([...reader.seen.keys()]).toEqual(end === "COMMIT" ? ["before", "slow", "fast"] : ["before", "fast"]);
    });
  });

  it("purges in batches beside those who beat, without a deadlock", async () => {
    const resources = open(openPool(5));
    const ids = Array.from({ length: 300 }, (_, index) => `web-${index}`);
    await applied(
      resources,
      ids.map((id) => ({ ...creation(id, "old"), state: "TERMINATED" })),
    );
    await applied(
      resources,
      ids.map((id) => ({ ...creation(id, "new"), after: 1 })),
    );
    let purging = true;
    const beating = Array.from({ length: 4 }, async () => {
      const beats = [...ids].reverse().flatMap((id) => [{ id, incarnation: 1 }, { id }]);
      while (purging) {
        const answers = await resources.heartbeat({ group, beats }, CALL);
        expect(answers.map(({ status }) => status)).toEqual(ids.flatMap(() => ["superseded", "accepted"]));
      }
    });
    const counts: number[] = [];
    while (counts.at(-1) !== 0) counts.push((await resources.purge({ group, ageMs: 0, limit: 70 }, CALL)).purged);
    purging = false;
    await Promise.all(beating);
    expect(counts).toEqual([70, 70, 70, 70, 20, 0]);
    expect((await resources.list({ group, limit: 1_000 }, CALL)).length).toBe(300);
    await close();
    expect(await deadlocks(url)).toBe(0);
  });

  it("makes one group of one name", async () => {
    const all = Array.from({ length: 8 }, () => open(openPool(1)));
    await all[0]?.getDesired(group, CALL);
    const answers = await Promise.all(
      all.map((resources, index) => applied(resources, [creation(`web-${index}`, "n")])),
    );
    expect(answers.flat().length).toBe(8);
    const { rows } = await (all[0] as ResourceStore).changedSince({ group, limit: 9 }, CALL);
    expect(rows.length).toBe(8);
  });
});

/** What somebody knows who asks for changes, and nothing else. */
function changesReader(resources: ResourceStore) {
  const seen = new Map<string, number>();
  let cursor: string | undefined;
  return {
    seen,
    async poll(): Promise<void> {
      for (;;) {
        const answer = await resources.changedSince({ group, limit: 7, ...(cursor && { cursor }) }, CALL);
        expect(answer.reset).toBe(false);
        cursor = answer.cursor;
        for (const { id, version } of answer.rows) seen.set(id, version);
        if (answer.rows.length < 7) return;
      }
    },
  };
}

/** Batches of creations, and of updates of rows that others write too; how many were applied. */
async function writeAtRandom(
  resources: ResourceStore,
  random: ReturnType<typeof seededRandom>,
  name: string,
  rounds: number,
): Promise<number> {
  let count = 0;
  for (let round = 0; round < rounds; round += 1) {
    const known = shuffled(await resources.list({ group, limit: 20 }, CALL), random).slice(0, 5);
    const writes = [...known.map((row) => update(row, `${name} ${round}`)), creation(`${name}-${round}`, name)];
    const answer = await resources.apply({ group, epoch: 0, writes: shuffled(writes, random) }, CALL);
    if (answer.status === "fenced") throw new Error("fenced");
    count += answer.results.filter(({ status }) => status === "applied").length;
  }
  return count;
}

async function applied(resources: ResourceStore, writes: readonly ResourceWrite[]): Promise<ResourceRow[]> {
  const answer = await resources.apply({ group, epoch: 0, writes }, CALL);
  if (answer.status === "fenced") throw new Error("fenced");
  return answer.results.map((result) => {
    expect(result.status).toBe("applied");
    return result.row as ResourceRow;
  });
}

function creation(id: string, nonce: string): CreateResource {
  return { kind: "create", id, after: 0, nonce, state: "PROVISIONED", generation: 1, attempt: 1 };
}

function update({ id, incarnation, version }: ResourceRow, nonce: string): ResourceWrite {
  const asked = { nonce, state: "PROVISIONED", generation: 1, attempt: 1 } as const;
  return { kind: "update", id, incarnation, expectedVersion: version, ...asked };
}

function shuffled<T>(values: readonly T[], random: ReturnType<typeof seededRandom>): T[] {
  return values
    .map((value) => ({ value, at: random.float() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

/** How many deadlocks there were, once all others have left the database and told so. */
async function deadlocks(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await until("all others have left", async () => {
      const others = await client.query(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
      );
      return others.rows.length === 0;
    });
    const { rows } = await client.query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    return Number(rows[0].deadlocks);
  } finally {
    await client.end();
  }
}
