import type pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import type { ClaimRequest } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { inTime } from "../../support/in-time.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const SHORT = { timeoutMs: 300 };
const OUTCOME = { kind: "value", bytes: new Uint8Array([1]) } as const;

const claimOf = (id: string): ClaimRequest => ({
  id,
  operation: "o",
  scope: "",
  nonce: `nonce of ${id}`,
  leaseMs: 60_000,
  retentionMs: 60_000,
  onAbandoned: "takeover",
});

describePostgres("a lock that somebody else holds", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let other: pg.PoolClient;
  let store: PostgresStore;
  let prefix: string;

  beforeEach(async () => {
    pool = await database.pool();
    prefix = newPrefix();
    store = postgresStore(pool, { tablePrefix: prefix });
    await store.migrate();
    other = await pool.connect();
    await other.query("BEGIN");
  });
  afterEach(async () => {
    await other.query("ROLLBACK");
    other.release();
    await store.close();
  });

  /** How many of the server's sessions wait for a lock in this database. */
  const waiting = async (): Promise<number> => {
    const { rows } = await other.query(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    );
    return rows[0].n;
  };

  const unavailable = { code: "STORE_UNAVAILABLE", cause: expect.anything() };
  const holder = { id: "held", token: 1, nonce: "nonce of held" };
  const lease = { name: "l", holder: "h" };
  const executions: Readonly<Record<string, () => Promise<unknown>>> = {
    claim: () => store.executions.claim(claimOf("new"), SHORT),
    renew: () => store.executions.renew({ ...holder, leaseMs: 1_000, retentionMs: 1_000 }, SHORT),
    complete: () => store.executions.complete({ ...holder, outcome: OUTCOME, retentionMs: 1_000 }, SHORT),
    release: () => store.executions.release({ ...holder, as: { mode: "forget" } }, SHORT),
    recordStep: () =>
      store.executions.recordStep({ ...holder, step: { position: 0, name: "s", outcome: OUTCOME } }, SHORT),
    get: () => store.executions.get("held", SHORT),
    "two gets": () => Promise.all(["held", "other"].map((id) => store.executions.get(id, SHORT))),
    list: () => store.executions.list({ limit: 9 }, SHORT),
    purge: () => store.executions.purge({ limit: 9 }, SHORT),
  };
  const leases: Readonly<Record<string, () => Promise<unknown>>> = {
    acquire: () => store.leases.acquire({ ...lease, nonce: "n", durationMs: 1_000 }, SHORT),
    renew: () => store.leases.renew({ ...lease, epoch: 1, durationMs: 1_000 }, SHORT),
    release: () => store.leases.release({ ...lease, epoch: 1 }, SHORT),
    get: () => store.leases.get("l", SHORT),
    list: () => store.leases.list("", SHORT),
  };
  const resources: Readonly<Record<string, () => Promise<unknown>>> = {
    get: () => store.resources.get("g", "r", SHORT),
    list: () => store.resources.list({ group: "g", limit: 9 }, SHORT),
    heartbeat: () => store.resources.heartbeat({ group: "g", beats: [{ id: "r" }] }, SHORT),
    changedSince: () => store.resources.changedSince({ group: "g", limit: 9 }, SHORT),
    staleBefore: () => store.resources.staleBefore({ group: "g", ageMs: 1, limit: 9 }, SHORT),
    getDesired: () => store.resources.getDesired("g", SHORT),
    setDesired: () => store.resources.setDesired({ group: "g", epoch: 1, nonce: "n", desired: "1" }, SHORT),
    listGroups: () => store.resources.listGroups({ limit: 9 }, SHORT),
    purge: () => store.resources.purge({ group: "g", ageMs: 1, limit: 9 }, SHORT),
  };
  const calls = Object.entries({ executions, leases, resources }).flatMap(([part, calls]) =>
    Object.entries(calls).map(([name, call]) => [`${part}: ${name}`, call] as const),
  );

  it.each(calls)("on a whole table is not waited for once the caller has given up (%s)", async (_, call) => {
    // The look for the ledger, so that what is measured is the call.
    await store.leases.get("warm", CALL);
    const tables = ["executions", "steps", "leases", "groups", "resources"].map((name) => prefix + name);
    await other.query(`LOCK TABLE ${tables.join(", ")}`);
    await expect(call()).rejects.toMatchObject(unavailable);
    // A session that nobody bounds would wait until the table is let go.
    await expect.poll(waiting, { timeout: 20_000 }).toBe(0);
    await other.query("ROLLBACK");
    // Its time is short, also for a machine that is busy.
    await until("it is answered", async () => {
      await call();
      return true;
    });
  });

  it("bounds what waits also where the session's own bound is wider, and not where it is narrower", async () => {
    for (const [bound, longestMs] of [
      ["30s", 1_500],
      ["20ms", 180],
    ] as const) {
      const client = await pool.connect();
      try {
        await client.query(`SET lock_timeout = '${bound}'`);
        await other.query(`LOCK TABLE ${prefix}executions`);
        // A busy machine holds up some; where the bound is another, none is so short.
        await until(`one waits for ${bound}, or for our own bound, and no longer`, async () => {
          const since = performance.now();
          await expect(client.query(`SELECT ${prefix}get('k')`)).rejects.toMatchObject({ code: "55P03" });
          return performance.now() - since < longestMs;
        });
        await client.query("RESET lock_timeout");
      } finally {
        client.release(true);
        await other.query("ROLLBACK; BEGIN");
      }
    }
  });

  it("on one record, not yet committed, keeps no other record of the batch waiting", async () => {
    await store.leases.get("warm", CALL);
    await other.query(`INSERT INTO ${prefix}executions (id) VALUES ('id 7')`);
    const stuck = store.executions.claim(claimOf("id 7"), CALL);
    const neighbours = Array.from({ length: 64 }, (_, n) => `id ${n}`).filter((id) => id !== "id 7");
    const claims = Promise.all(neighbours.map((id) => store.executions.claim(claimOf(id), CALL)));
    const claimed = await inTime(CALL.timeoutMs / 2, claims);
    expect(new Set(claimed.map(({ status }) => status))).toEqual(new Set(["acquired"]));
    await other.query("ROLLBACK");
    expect(await stuck).toMatchObject({ status: "acquired" });
  });

  it("leaves the bound of the user's own transaction as it is", async () => {
    const claimed = await store.executions.claim(claimOf("mine"), CALL);
    if (claimed.status !== "acquired") throw new Error(claimed.status);
    const { token } = claimed;
    await other.query("SET LOCAL lock_timeout = '7s'");
    const request = { id: "mine", token, nonce: "nonce of mine", outcome: OUTCOME, retentionMs: 60_000 };
    await store.executions.completeInTransaction?.(request, other);
    expect((await other.query("SHOW lock_timeout")).rows).toEqual([{ lock_timeout: "7s" }]);
  });
});
