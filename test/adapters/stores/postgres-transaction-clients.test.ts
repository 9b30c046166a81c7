import pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { type ExecutionContext, withIdempotency } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

describePostgres("ctx.complete(value, client) with transactions and clients of all kinds", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let client: pg.PoolClient;
  let store: PostgresStore;
  let tablePrefix: string;

  beforeEach(async () => {
    pool = await database.pool();
    tablePrefix = newPrefix();
    store = postgresStore(pool, { tablePrefix });
    await store.migrate();
    client = await pool.connect();
  });
  afterEach(async () => {
    await client.query("ROLLBACK");
    client.release();
    await store.close();
  });

  const run = (work: (ctx: ExecutionContext) => unknown) =>
    withIdempotency((_: string, ctx) => work(ctx), { store, operation: "pay" }).run("in", { key: "k" });

  const statuses = async (): Promise<string[]> => {
    const { rows } = await pool.query(`SELECT status FROM ${tablePrefix}executions`);
    return rows.map(({ status }: { status: string }) => status);
  };

  it.each(["REPEATABLE READ", "SERIALIZABLE"])(
    "tells a %s transaction that is older than the claim to begin anew, as a serialization failure",
    async (level) => {
      const begin = async (): Promise<void> => {
        await client.query(`BEGIN ISOLATION LEVEL ${level}`);
        await client.query("SELECT 1 FROM pg_class");
      };
      await begin();
      const call = run(async (ctx) => {
        await expect(ctx.complete("early", client)).rejects.toMatchObject({
          code: "40001",
          message: /after the claim/,
        });
        await client.query("ROLLBACK");
        // What those who retry serialization failures do.
        await begin();
        await ctx.complete("paid", client);
        await client.query("COMMIT");
        return "paid";
      });
      expect(await call).toMatchObject({ value: "paid", replayed: false });
      expect(await statuses()).toEqual(["completed"]);
    },
  );

  it.each(["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])(
    "tells a %s transaction of a record that is gone that the lease is lost, and leaves none behind",
    async (level) => {
      const call = run(async (ctx) => {
        await pool.query(`DELETE FROM ${tablePrefix}executions`);
        await client.query(`BEGIN ISOLATION LEVEL ${level}`);
        await expect(ctx.complete("paid", client)).rejects.toMatchObject({ code: "LEASE_LOST" });
        expect((await client.query("COMMIT")).command).toBe("ROLLBACK");
        throw new Error("nothing was paid");
      });
      await expect(call).rejects.toThrow();
      expect(await statuses()).toEqual([]);
    },
  );

  it.each([
    ["rows alone", (rows: unknown[]) => rows],
    ["nothing", () => undefined],
    ["rows and their number", (rows: unknown[]) => [rows, rows.length]],
  ])("refuses a client whose query() answers %s, before anything is written", async (_, answer) => {
    const tx = { query: async (...args: [string]) => answer((await client.query(...args)).rows) };
    await client.query("BEGIN");
    const call = run((ctx) => ctx.complete("paid", tx));
    await expect(call).rejects.toMatchObject({ code: "INVALID_OPTIONS", message: /as a client of pg/ });
    await client.query("COMMIT");
    expect(await statuses()).not.toContain("completed");
  });

  it("is not bothered by parsers of the user's", async () => {
    const parser = () => (): unknown => ({ parsed: true });
    const types = { getTypeParser: parser } as never;
    const parsing = new pg.Client({ connectionString: await database.url(), types });
    await parsing.connect();
    await parsing.query("BEGIN");
    const call = run(async (ctx) => {
      await ctx.complete("paid", parsing);
      await parsing.query("COMMIT");
      return "paid";
    });
    expect(await call).toMatchObject({ value: "paid", replayed: false });
    await parsing.end();
    expect(await statuses()).toEqual(["completed"]);
  });
});
