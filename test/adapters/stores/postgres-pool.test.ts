import pg from "pg";
import { expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import { describePgbouncer, describePostgres } from "../../support/engines.ts";
import { startPgbouncer } from "../../support/pgbouncer.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { startPostgres } from "../../support/postgres-server.ts";

/** Counts the statements that go over the clients of a pool, and keeps their texts. */
function observe(pool: pg.Pool): string[] {
  const texts: string[] = [];
  pool.on("connect", (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      const [first] = args as [string | { text: string }];
      texts.push(typeof first === "string" ? first : first.text);
      return query(...args);
    }) as typeof client.query;
  });
  return texts;
}

describePostgres("postgresStore over a pool", () => {
  const { url } = useDatabase();
  const poolOf = async (options: pg.PoolConfig): Promise<pg.Pool> =>
    new pg.Pool({ connectionString: await url(), ...options });

  it("asks twice for a first call and once for a replay (rule 30), after one look at the schema", async () => {
    const pool = await poolOf({ max: 2 });
    const texts = observe(pool);
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    await store.migrate();
    const once = withIdempotency(() => "done", { store, operation: "o" });
    texts.length = 0;
    await once("input", { key: "first" });
    expect(texts).toHaveLength(3);
    texts.length = 0;
    await once("input", { key: "k" });
    expect(texts.map((text) => /(claim|complete)"\(/.exec(text)?.[1])).toEqual(["claim", "complete"]);
    texts.length = 0;
    await once("input", { key: "k" });
    expect(texts).toHaveLength(1);
    await store.close();
    await pool.end();
  });

  it("shares statements among calls that are made at once, each decided on its own", async () => {
    const pool = await poolOf({ max: 4 });
    const texts = observe(pool);
    const tablePrefix = newPrefix();
    const store = postgresStore(pool, { tablePrefix });
    const once = withIdempotency((n: number) => n, { store, operation: "o", inFlight: "wait" });
    await once(-1, { key: "broken" });
    await pool.query(`UPDATE ${tablePrefix}executions SET format = 99`);
    const client = await pool.connect();
    await client.query("BEGIN");
    texts.length = 0;
    const keys = ["broken", ...Array.from({ length: 300 }, (_, n) => `key ${n}`)];
    const settled = await Promise.allSettled(keys.map((key, n) => once(n, { key })));
    await client.query("ROLLBACK");
    client.release();
    expect(settled[0]).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
    expect(settled.slice(1).map((call) => call.status === "fulfilled" && call.value)).toEqual(
      keys.slice(1).map((_, n) => n + 1),
    );
    expect(texts.length).toBeLessThan(40);
    await store.close();
    await pool.end();
  });

  it("does not let a record that somebody has locked hold up the others of its statement", async () => {
    const pool = await poolOf({ max: 4 });
    const tablePrefix = newPrefix();
    const store = postgresStore(pool, { tablePrefix });
    const client = await pool.connect();
    const answers: string[] = [];
    const call = withIdempotency(
      async (key: string) => {
        if (key === "locked") {
          await client.query("BEGIN");
          await client.query(`SELECT FROM ${tablePrefix}executions WHERE key = 'locked' FOR UPDATE`);
        }
        return key;
      },
      { store, operation: "o", onEvent: (event) => event.type === "completed" && answers.push(event.type) },
    );
    const locked = call("locked", { key: "locked" });
    expect(await Promise.all(["a", "b", "c"].map((key) => call(key, { key })))).toEqual(["a", "b", "c"]);
    await client.query("COMMIT");
    client.release();
    expect(await locked).toBe("locked");
    await store.close();
    await pool.end();
  });

  it.each(["read committed", "repeatable read", "serializable"])(
    "grants one of many, in sessions that are %s",
    async (level) => {
      const options = `-c default_transaction_isolation=${level.replace(" ", "\\ ")}`;
      const tablePrefix = newPrefix();
      const pools = await Promise.all(Array.from({ length: 4 }, () => poolOf({ max: 4, options })));
      const stores = pools.map((pool) => postgresStore(pool, { tablePrefix }));
      let runs = 0;
      const calls = stores.map((store) =>
        withIdempotency(() => ++runs, {
          store,
          operation: "o",
          inFlight: "wait",
          storeTimeoutMs: 20_000,
          maxWaitMs: 20_000,
        }),
      );
      for (let round = 0; round < 5; round += 1) {
        const keys = Array.from({ length: 10 }, (_, n) => `${round}-${n}`);
        const before = runs;
        const values = await Promise.all(
          keys.flatMap((key) => calls.flatMap((call) => [call("i", { key }), call("i", { key })])),
        );
        expect(runs - before).toBe(keys.length);
        expect(new Set(values).size).toBe(keys.length);
      }
      for (const store of stores) await store.close();
      for (const pool of pools) await pool.end();
    },
  );

  it("does not deadlock with a pool of one that the function uses too", async () => {
    const pool = await poolOf({ max: 1 });
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    await pool.query("CREATE TABLE IF NOT EXISTS effects (id text)");
    const call = withIdempotency(
      async (_: string, ctx) => {
        await pool.query("INSERT INTO effects VALUES ('before')");
        const client = await pool.connect();
        await client.query("BEGIN");
        await client.query("INSERT INTO effects VALUES ('within')");
        // Four of them take longer than a renewal takes to come, and far shorter than a lease.
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        await ctx.complete("done", client);
        await client.query("COMMIT");
        client.release();
        await pool.query("INSERT INTO effects VALUES ('after')");
        return "done";
      },
      { store, operation: "o", leaseMs: 9_000, inFlight: "wait" },
    );
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => call("input", { key: `k${n % 4}` })));
    expect(new Set(answers)).toEqual(new Set(["done"]));
    expect((await pool.query("SELECT count(*)::int AS n FROM effects")).rows).toEqual([{ n: 12 }]);
    await store.close();
    await pool.end();
  });

  it("is not misled by type parsers, formats or settings of the user's", async () => {
    const types = { getTypeParser: () => () => "the user's own" };
    const pool = await poolOf({ max: 2, types, options: "-c bytea_output=escape -c client_min_messages=error" });
    const binary = await poolOf({ max: 1, binary: true } as pg.PoolConfig);
    const tablePrefix = newPrefix();
    for (const source of [pool, binary]) {
      const store = postgresStore(source, { tablePrefix });
      const once = withIdempotency(() => ({ paid: true }), { store, operation: `o${source.options.max}` });
      expect(await once("input", { key: "k" })).toEqual({ paid: true });
      expect(await once.run("input", { key: "k" })).toMatchObject({ value: { paid: true }, replayed: true });
      expect(await store.executions.list({ limit: 10 }, { timeoutMs: 20_000 })).not.toHaveLength(0);
      await store.close();
      await source.end();
    }
  });

  it("waits for the disk also in sessions whose synchronous_commit is off", async () => {
    const tablePrefix = newPrefix();
    const pool = await poolOf({ max: 2, options: "-c synchronous_commit=off" });
    const store = postgresStore(pool, { tablePrefix });
    await store.migrate();
    // Says what holds at the end of the transaction that writes.
    await pool.query(`CREATE TABLE ${tablePrefix}seen (level text);
      CREATE FUNCTION ${tablePrefix}note() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO ${tablePrefix}seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE ON ${tablePrefix}executions
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ${tablePrefix}note()`);
    await withIdempotency(() => "done", { store, operation: "o" })("input", { key: "k" });
    expect((await pool.query(`SELECT DISTINCT level FROM ${tablePrefix}seen`)).rows).toEqual([{ level: "on" }]);
    expect((await pool.query("SHOW synchronous_commit")).rows).toEqual([{ synchronous_commit: "off" }]);
    await store.close();
    await pool.end();
  });
});

describePgbouncer("postgresStore through pgbouncer in transaction mode", () => {
  it("works, LISTEN on a connection of its own included", async () => {
    const server = await startPostgres({ settings: { fsync: "off" } });
    const bouncer = await startPgbouncer(server);
    const direct = await server.createDatabase();
    const pool = new pg.Pool({ connectionString: bouncer?.url(direct) as string, max: 8 });
    const stores = [postgresStore(pool, { listen: direct }), postgresStore(pool, { listen: direct })];
    let runs = 0;
    const calls = stores.map((store) => withIdempotency(() => ++runs, { store, operation: "o", inFlight: "wait" }));
    const keys = Array.from({ length: 100 }, (_, n) => `key ${n}`);
    await Promise.all(keys.flatMap((key) => calls.map((call) => call("input", { key }))));
    expect(runs).toBe(keys.length);
    const paid = withIdempotency(
      async (_: string, ctx) => {
        const client = await pool.connect();
        await client.query("BEGIN");
        await ctx.complete("paid", client);
        await client.query("COMMIT");
        client.release();
        return "paid";
      },
      { store: stores[0] as (typeof stores)[0], operation: "pay" },
    );
    expect(await paid("input", { key: "k" })).toBe("paid");
    expect(await paid.run("input", { key: "k" })).toMatchObject({ replayed: true });
    for (const store of stores) await store.close();
    await pool.end();
    await bouncer?.stop();
    await server.stop();
  });
});
