import { randomUUID } from "node:crypto";
import pg from "pg";
import { expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { describePgbouncer, describePostgres } from "../../support/engines.ts";
import { startPgbouncer } from "../../support/pgbouncer.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { startPostgres } from "../../support/postgres-server.ts";

const CALL = { timeoutMs: 10_000 };

/** Waits at `watching` for what `settling` does to a record. The stores alone: nothing here looks by itself. */
async function isWoken(watching: PostgresStore, settling: PostgresStore): Promise<void> {
  for (const how of ["complete", "release"] as const) {
    const id = randomUUID();
    const claim = {
      id,
      operation: "o",
      scope: "",
      leaseMs: 60_000,
      retentionMs: 60_000,
      onAbandoned: "report",
    } as const;
    const claimed = await settling.executions.claim({ ...claim, ...NONCE }, CALL);
    if (claimed.status !== "acquired") throw new Error(claimed.status);
    let wakes = 0;
    const end = watching.executions.watch?.(id, () => {
      wakes += 1;
    });
    // The first is for what may have happened before it listened.
    if (how === "complete") await expect.poll(() => wakes, { timeout: 30_000 }).toBe(1);
    const before = wakes;
    const holder = { id, token: claimed.token, ...NONCE };
    if (how === "complete") {
      const outcome = { kind: "value", bytes: Buffer.from("1") } as const;
      await settling.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, CALL);
    } else {
      await settling.executions.release({ ...holder, as: { mode: "forget" } }, CALL);
    }
    await expect.poll(() => wakes, { timeout: 30_000 }).toBe(before + 1);
    end?.();
  }
}

const NONCE = { nonce: "nonce" };

describePostgres("two stores on a URL", () => {
  const { url, pool } = useDatabase();

  it("wake one another, each way", async () => {
    const tablePrefix = newPrefix();
    const [one, other] = [postgresStore(await url(), { tablePrefix }), postgresStore(await url(), { tablePrefix })];
    await one.migrate();
    await isWoken(one, other);
    await isWoken(other, one);
    await one.close();
    await other.close();
  });

  it("wake nobody on a ledger with another prefix, nor on a pool that was not asked to tell", async () => {
    const tablePrefix = newPrefix();
    const watching = postgresStore(await url(), { tablePrefix });
    const elsewhere = postgresStore(await url(), { tablePrefix: newPrefix() });
    const silent = postgresStore(await pool(), { tablePrefix });
    const telling = postgresStore(await url(), { tablePrefix });
    let wakes = 0;
    const end = watching.executions.watch?.("k", () => {
      wakes += 1;
    });
    await expect.poll(() => wakes, { timeout: 30_000 }).toBe(1);
    const settle = async (store: PostgresStore): Promise<void> => {
      const claim = { id: "k", operation: "o", scope: "", leaseMs: 60_000, retentionMs: 60_000, ...NONCE };
      const claimed = await store.executions.claim({ ...claim, onAbandoned: "report" }, CALL);
      if (claimed.status !== "acquired") throw new Error(claimed.status);
      await store.executions.release({ id: "k", token: claimed.token, ...NONCE, as: { mode: "forget" } }, CALL);
    };
    await settle(elsewhere);
    await settle(silent);
    // Notifications come in the order of their commits: when this one is there, no other is on its way.
    await settle(telling);
    await expect.poll(() => wakes, { timeout: 30_000 }).toBe(2);
    end?.();
    for (const store of [watching, elsewhere, silent, telling]) await store.close();
  });
});

describePgbouncer("two stores behind pgbouncer", () => {
  it("wake one another when `listen` leads to the server itself, and listen there", async () => {
    const server = await startPostgres({ settings: { fsync: "off" } });
    const bouncer = await startPgbouncer(server);
    const database = await server.createDatabase();
    const direct = `${database}?application_name=listens`;
    const pools = [1, 2].map(() => new pg.Pool({ connectionString: bouncer.url(database), max: 2 }));
    const [one, other] = pools.map((pool) => postgresStore(pool, { listen: direct })) as [PostgresStore, PostgresStore];
    await one.migrate();
    await isWoken(one, other);
    await isWoken(other, one);
    const admin = new pg.Client(database);
    await admin.connect();
    const { rows } = await admin.query("SELECT query FROM pg_stat_activity WHERE application_name = 'listens'");
    expect(rows.map(({ query }) => query.slice(0, 7))).toEqual(["LISTEN ", "LISTEN "]);
    await admin.end();
    await one.close();
    await other.close();
    for (const pool of pools) await pool.end();
    await bouncer.stop();
    await server.stop();
  });
});
