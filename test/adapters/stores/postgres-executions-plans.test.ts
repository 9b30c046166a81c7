import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { describePostgresServers } from "../../support/engines.ts";
import { type PlanTellingPool, planTellingPool } from "../../support/postgres-plans.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";

const CALL = { timeoutMs: 30_000 };
const ROWS = 50_000;
const EXPIRED = 300;
const id = (index: number): string => index.toString(16).padStart(64, "0");

/** What people and operators ask, and the index along which it is found. */
const CALLS: readonly [name: string, index: string, call: (store: PostgresStore) => Promise<unknown>][] = [
  ["recent", "created", ({ executions }) => executions.recent({ limit: 100 }, CALL)],
  ["recent of one operation", "created", ({ executions }) => executions.recent({ operation: "o3", limit: 9 }, CALL)],
  ["countExpired", "expiry", ({ executions }) => executions.countExpired(CALL)],
  ["seize", "pkey", ({ executions }) => executions.seize({ ...seizure, id: id(777) }, CALL)],
];
const seizure = { token: 777, nonce: "operator", leaseMs: 60_000, retentionMs: 60_000 };

describePostgresServers("the plans of executions, among 50,000 rows", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", autovacuum: "off" } });
    await fill(server.url);
  });
  afterAll(() => server?.stop());

  describe.each(["force_generic_plan", "force_custom_plan"])("with plan_cache_mode = %s", (mode) => {
    let telling: PlanTellingPool;
    let store: PostgresStore;

    beforeAll(async () => {
      telling = planTellingPool(server.url, mode);
      store = postgresStore(telling.pool);
      await store.executions.get(id(1), CALL);
    });
    afterAll(async () => {
      await store.close();
      await telling.pool.end();
    });

    it.each(CALLS)("%s looks into the index %s", async (_name, index, call) => {
      const plans = await telling.plansOf(() => call(store));
      const ours = plans.filter((plan) => /Scan.* on evenkeel_executions/.test(plan)).join("\n");
      expect(ours).toMatch(new RegExp(`Index Scan.* evenkeel_executions_${index}`));
      expect(ours).not.toContain("Seq Scan");
      // Those of one moment alone are put in order.
      expect(ours.match(/Sort Key/g)?.length).toBe(ours.match(/Presorted Key/g)?.length);
    });
  });

  it("tell the newest and the expired ones", async () => {
    const store = postgresStore(server.url);
    const newest = await store.executions.recent({ limit: 3 }, CALL);
    expect(newest.map((view) => view.id)).toEqual([id(ROWS), id(ROWS - 1), id(ROWS - 2)]);
    expect(await store.executions.countExpired(CALL)).toEqual({ count: EXPIRED });
    await store.close();
  });
});

/** Running records of a hundred operations, one a millisecond, of which the oldest have expired. */
async function fill(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url });
  const store = postgresStore(pool);
  await store.migrate();
  await pool.query(`
    INSERT INTO evenkeel_executions (id, format, operation, scope, attempt, token, nonce, created_at, retention_ms,
      expires_at, status, lease_expires_at, retry_granted)
    SELECT lpad(to_hex(i), 64, '0'), 1, 'o' || i % 100, '', 1, i, 'n' || i, t.now - ${ROWS} + i, 86400000,
      t.now + CASE WHEN i <= ${EXPIRED} THEN -1 ELSE 86400000 + i END, 'running', t.now, false
    FROM generate_series(1, ${ROWS}) i, (SELECT evenkeel_now() AS now) t`);
  await pool.query("ANALYZE");
  await store.close();
  await pool.end();
}
