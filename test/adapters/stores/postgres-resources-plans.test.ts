import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { describePostgresServers } from "../../support/engines.ts";
import { type PlanTellingPool, planTellingPool } from "../../support/postgres-plans.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";

const CALL = { timeoutMs: 30_000 };
const ROWS = 50_000;
const group = "workers";

/** The calls whose cost must follow what they answer, and the index of each. */
const CALLS: readonly [name: string, index: string, call: (store: PostgresStore, mark: string) => Promise<unknown>][] =
  [
    ["get", "pkey", ({ resources }) => resources.get(group, "web-00777", CALL)],
    ["list", "pkey", ({ resources }) => resources.list({ group, limit: 100, after: after("web-40000") }, CALL)],
    ["changedSince", "changed", ({ resources }, mark) => changes(resources, `${mark}:${ROWS - 10}`)],
    ["changedSince with nothing new", "changed", ({ resources }, mark) => changes(resources, `${mark}:${ROWS}`)],
    ["changedSince without a cursor", "changed", ({ resources }) => changes(resources)],
    ["staleBefore", "silent", ({ resources }) => resources.staleBefore({ group, ageMs: 1_000, limit: 100 }, CALL)],
    [
      "staleBefore with nobody silent",
      "silent",
      ({ resources }) => resources.staleBefore({ group, ageMs: 1e9, limit: 9 }, CALL),
    ],
    ["purge", "ended", ({ resources }) => resources.purge({ group, ageMs: 1e9, limit: 100 }, CALL)],
    ["heartbeat", "pkey", ({ resources }) => resources.heartbeat({ group, beats: many(1_000) }, CALL)],
    [
      "apply",
      "pkey",
      ({ resources }) => resources.apply({ group, epoch: 0, writes: many(500).map(conflicting) }, CALL),
    ],
  ];

const FENCES = Array.from({ length: 500 }, (_, index) => ({ name: `shard-${index * 97}`, epoch: 1 }));

describePostgresServers("the plans of resources, among 50,000 rows", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", autovacuum: "off" } });
    await fill(server.url);
  });
  afterAll(() => server?.stop());

  describe.each(["force_generic_plan", "force_custom_plan"])("with plan_cache_mode = %s", (mode) => {
    let telling: PlanTellingPool;
    let store: PostgresStore;
    let mark: string;

    beforeAll(async () => {
      telling = planTellingPool(server.url, mode);
      store = postgresStore(telling.pool);
      await store.resources.getDesired(group, CALL);
      const { rows } = await telling.pool.query("SELECT mark FROM evenkeel_groups");
      ({ mark } = rows[0]);
    });
    afterAll(async () => {
      await store.close();
      await telling.pool.end();
    });

    it.each(CALLS)("%s looks into the index %s, and reads find their order there", async (name, index, call) => {
      const plans = await telling.plansOf(() => call(store, mark));
      const ours = plans.filter((plan) => plan.includes("evenkeel_resources"));
      // From the group's part of it on, not from those of all groups.
      const used = `using evenkeel_resources_${index} on evenkeel_resources.*\\n\\s*Index Cond: .*group_name = `;
      expect(ours.join("\n")).toMatch(new RegExp(used));
      for (const plan of ours) expect(plan).not.toMatch(/(Seq|Bitmap Heap) Scan on evenkeel_resources/);
      if (isRead(name)) for (const plan of ours) expect(plan).not.toContain("Sort Key");
    });

    it("apply looks up each of its fences in their index, among as many", async () => {
      const plans = await telling.plansOf(async () => {
        const answer = await store.resources.apply({ group, epoch: 0, writes: [], fences: FENCES }, CALL);
        expect(answer).toEqual({ status: "decided", results: [] });
      });
      const ours = plans.filter((plan) => plan.includes("evenkeel_fences"));
      expect(ours.length).toBe(1);
      const used =
        /using evenkeel_fences_pkey on evenkeel_fences.*\n\s*Index Cond: .*group_name = .* AND \(?\(?name = /;
      expect(ours[0]).toMatch(used);
      expect(ours[0]).not.toMatch(/(Seq|Bitmap Heap) Scan on evenkeel_fences/);
    });
  });
});

/** A group of rows that are silent since some minutes, of which every hundredth is terminated. */
async function fill(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url });
  const store = postgresStore(pool);
  await store.resources.setDesired({ group, epoch: 0, nonce: "n", desired: `${ROWS}` }, CALL);
  await pool.query(`
    INSERT INTO evenkeel_resources (group_name, id, incarnation, format, state, spec, generation, attempt, fencing_token,
      created_at, state_changed_at, provisioned_at, last_heartbeat_at, version, nonce, sequence)
    SELECT '${group}', 'web-' || lpad(i::text, 5, '0'), 1, 1, CASE WHEN i % 100 = 0 THEN 'TERMINATED' ELSE 'PROVISIONED' END,
      '{"size":2}', 1, 1, i, t.now - 900000, t.now - 800000 + i, t.now - 800000, t.now - 700000 + i, 1, 'nonce', i
    FROM generate_series(1, ${ROWS}) i, (SELECT evenkeel_now() AS now) t`);
  await pool.query(`UPDATE evenkeel_groups SET sequence = ${ROWS}`);
  await pool.query("ANALYZE");
  // After that, as where many shards are new: the planner takes a group for a small part of all.
  await pool.query(
    `INSERT INTO evenkeel_fences SELECT '${group}', 'shard-' || i, 1 FROM generate_series(0, ${ROWS}) i`,
  );
  await store.close();
  await pool.end();
}

function isRead(name: string): boolean {
  return /^(get|list|changed|stale)/.test(name);
}

function after(id: string) {
  return { id, incarnation: 1 };
}

function changes(resources: PostgresStore["resources"], cursor?: string) {
  return resources.changedSince({ group, limit: 100, ...(cursor === undefined ? {} : { cursor }) }, CALL);
}

function many(count: number) {
  return Array.from({ length: count }, (_, index) => after(`web-${String((index * 37) % ROWS).padStart(5, "0")}`));
}

function conflicting({ id, incarnation }: { readonly id: string; readonly incarnation: number }) {
  const asked = { nonce: "other", state: "FAILED", generation: 1, attempt: 1 } as const;
  return { kind: "update", id, incarnation, expectedVersion: 9, ...asked } as const;
}
