import { expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { purgeExpired } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

const CALL = { timeoutMs: 60_000 };
const RECORDS = 1_500;

describePostgres("a purge of a slow PostgreSQL", () => {
  const database = useDatabase();

  it("tells what it has deleted where the time is too short for the rest, which a purge in batches goes on with", async () => {
    const pool = await database.pool();
    const prefix = newPrefix();
    const store = postgresStore(pool, { tablePrefix: prefix });
    const claims = Array.from({ length: RECORDS }, (_, at) =>
      store.executions.claim(
        {
          ...{ id: at.toString(16).padStart(64, "0"), operation: "o", scope: "", nonce: "n" },
          ...{ leaseMs: 1, retentionMs: 86_400_000, onAbandoned: "takeover" },
        },
        CALL,
      ),
    );
    await Promise.all(claims);
    await pool.query(`UPDATE ${prefix}executions SET expires_at = 1`);
    await pool.query(`
      CREATE FUNCTION ${prefix}wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
      CREATE TRIGGER slow BEFORE DELETE ON ${prefix}executions EXECUTE FUNCTION ${prefix}wait()`);
    expect(await store.executions.purge({ limit: 10_000 }, { timeoutMs: 8_000 })).toEqual({ purged: 1_000 });
    await pool.query(`DROP TRIGGER slow ON ${prefix}executions`);
    expect(await purgeExpired({ store, batchSize: 10_000, storeTimeoutMs: 60_000 })).toEqual({ purged: 500 });
    await store.close();
  }, 120_000);
});
