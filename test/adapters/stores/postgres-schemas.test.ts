import pg from "pg";
import { afterEach, expect, it } from "vitest";
import { type PostgresStore, type PostgresStoreOptions, postgresStore } from "../../../adapters/stores/postgres.ts";
import { type LedgerStore, withIdempotency } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

const CALL = { timeoutMs: 20_000 };

describePostgres("the schema of a ledger", () => {
  const database = useDatabase();
  const opened: { close(): Promise<void> }[] = [];

  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close();
  });

  const open = (pool: pg.Pool, options: PostgresStoreOptions): PostgresStore => {
    const store = postgresStore(pool, options);
    opened.push(store);
    return store;
  };

  /** A pool whose sessions somebody has run `SET search_path` in. */
  const leaked = async (path: string): Promise<pg.Pool> => {
    const pool = new pg.Pool({ connectionString: await database.url(), max: 1 });
    opened.push({ close: () => pool.end() });
    pool.on("connect", (client) => void client.query(`SET search_path TO ${path}`));
    return pool;
  };

  const call = (store: LedgerStore, value: string): Promise<string> =>
    withIdempotency(() => value, { store, operation: "o" })("input", { key: "k" });

  const schemasOf = async (table: string): Promise<string[]> => {
    const { rows } = await (await database.pool()).query("SELECT schemaname FROM pg_tables WHERE tablename = $1", [
      table,
    ]);
    return rows.map(({ schemaname }: { schemaname: string }) => schemaname);
  };

  const createSchemas = async (...names: string[]): Promise<void> => {
    for (const name of names) await (await database.pool()).query(`CREATE SCHEMA IF NOT EXISTS ${name}`);
  };

  it("is not chosen by a search_path that a session was left with: nothing is made there", async () => {
    await createSchemas("t1", "t2");
    const tablePrefix = newPrefix();
    for (const path of ["t1", "t2"]) {
      const store = open(await leaked(path), { tablePrefix });
      for (const refused of [() => call(store, path), () => store.migrate()]) {
        await expect(refused()).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /`schema`/ });
      }
    }
    expect(await schemasOf(`${tablePrefix}executions`)).toEqual([]);
  });

  it("is the one that the option names, wherever the search_path leads", async () => {
    await createSchemas("t1", "t2", "ledgers");
    const options = { tablePrefix: newPrefix(), schema: "ledgers" };
    expect(await call(open(await leaked("t1"), options), "one")).toBe("one");
    expect(await call(open(await leaked("t2"), options), "two")).toBe("one");
    expect(await schemasOf(`${options.tablePrefix}executions`)).toEqual(["ledgers"]);
  });

  it("is not replaced by another one of the search_path with a ledger of that prefix", async () => {
    await createSchemas("ledgers");
    const tablePrefix = newPrefix();
    const pool = await database.pool();
    expect(await call(open(pool, { tablePrefix }), "public")).toBe("public");
    expect(await call(open(pool, { tablePrefix, schema: "ledgers" }), "ledgers")).toBe("ledgers");
    expect((await schemasOf(`${tablePrefix}executions`)).toSorted()).toEqual(["ledgers", "public"]);
  });

  it("has to be there, and a name", async () => {
    const pool = await database.pool();
    const store = open(pool, { schema: "nowhere" });
    await expect(call(store, "x")).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /schema/ });
    for (const schema of ["", "a".repeat(64), 7]) {
      expect(() => postgresStore(pool, { schema } as never)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTIONS" }),
      );
    }
  });

  it.each(["o'brien", 'say "hi"', "back\\slash", "Größe $1"])("may have any name (%s)", async (schema) => {
    await createSchemas(`"${schema.replaceAll('"', '""')}"`);
    const store = open(await database.pool(), { tablePrefix: newPrefix(), schema });
    expect(await call(store, "made")).toBe("made");
    expect(await store.executions.list({ limit: 9 }, CALL)).toHaveLength(1);
    await store.leases.acquire({ name: "l", holder: "h", nonce: "n", durationMs: 1_000 }, CALL);
    const write = {
      kind: "create",
      id: "r",
      nonce: "n",
      state: "PENDING",
      generation: 1,
      attempt: 1,
      after: 0,
    } as const;
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const applied = await store.resources.apply({ group: "g", epoch: 1, writes: [{ ...write, lease }] }, CALL);
    expect(applied).toMatchObject({ results: [{ status: "applied" }] });
  });
});
