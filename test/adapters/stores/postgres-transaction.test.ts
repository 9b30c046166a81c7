import type pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { type ExecutionContext, type IdempotencyOptions, withIdempotency } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

describePostgres("ctx.complete(value, client) with pg", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let store: PostgresStore;
  let tablePrefix: string;

  beforeEach(async () => {
    pool = await database.pool();
    await pool.query("CREATE TABLE IF NOT EXISTS payments (id text)");
    await pool.query("TRUNCATE payments");
    tablePrefix = newPrefix();
    store = postgresStore(pool, { tablePrefix });
  });
  afterEach(() => store.close());

  const payments = async (): Promise<string[]> => {
    const { rows } = await pool.query("SELECT id FROM payments ORDER BY id");
    return rows.map(({ id }: { id: string }) => id);
  };

  /** What a user writes: the effect and the completion in one transaction. */
  async function pay(by: string, ctx: ExecutionContext, then: "COMMIT" | "ROLLBACK" = "COMMIT"): Promise<string> {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await client.query("INSERT INTO payments VALUES ($1)", [by]);
      await ctx.complete(by, client);
      await client.query(then);
      return by;
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  }

  const payer = (
    work: (ctx: ExecutionContext) => unknown,
    options: Partial<IdempotencyOptions<string, unknown>> = {},
  ) => withIdempotency((_: string, ctx) => work(ctx), { store, operation: "pay", ...options });

  it("makes the effect and the completion visible together (I21)", async () => {
    const call = payer((ctx) => pay("one", ctx));
    expect(await call.run("in", { key: "k" })).toMatchObject({ value: "one", replayed: false });
    expect(await call.run("in", { key: "k" })).toMatchObject({ value: "one", replayed: true });
    expect(await payments()).toEqual(["one"]);
  });

  it("counts also when the function throws after the commit: the caller gets the error, retries the value", async () => {
    const call = payer(async (ctx) => {
      await pay("one", ctx);
      throw new Error("the receipt could not be printed");
    });
    await expect(call("in", { key: "k" })).rejects.toThrow("receipt");
    expect(await call("in", { key: "k" })).toBe("one");
    expect(await payments()).toEqual(["one"]);
  });

  it("counts for nothing when the transaction rolls back", async () => {
    const call = payer(async (ctx) => {
      await pay("one", ctx, "ROLLBACK");
      return "not paid";
    });
    expect(await call("in", { key: "k" })).toBe("not paid");
    expect(await call.run("in", { key: "k" })).toMatchObject({ value: "not paid", replayed: true });
    expect(await payments()).toEqual([]);
  });

  it("rolls the business writes of a stale attempt back, also when it overlooks the error", async () => {
    // The holder's renewals don't get through: its store is away, as in a partition.
    const renew = (): Promise<never> => Promise.reject(new Error("cut off"));
    const cutOff = { ...store, executions: { ...store.executions, renew } };
    let resume = (): void => {};
    const paused = new Promise<void>((resolve) => {
      resume = resolve;
    });
    let started = (): void => {};
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    let answer = "";
    const stale = payer(
      async (ctx) => {
        started();
        await paused;
        const client = await pool.connect();
        await client.query("BEGIN");
        await client.query("INSERT INTO payments VALUES ('stale')");
        await ctx.complete("stale", client).catch(() => {});
        answer = (await client.query("COMMIT")).command;
        client.release();
        return "stale";
      },
      { leaseMs: 3_000, store: cutOff },
    );
    const first = stale("in", { key: "k" });
    await running;
    await pool.query(`UPDATE ${tablePrefix}executions SET lease_expires_at = 1`);
    expect(await payer((ctx) => pay("winner", ctx))("in", { key: "k" })).toBe("winner");
    resume();
    expect(await first).toBe("winner");
    expect(answer).toBe("ROLLBACK");
    expect(await payments()).toEqual(["winner"]);
  });

  it("shows nobody an uncommitted completion, and lets nobody wait for it with a connection", async () => {
    const alone = await database.pool();
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const call = payer(
      async (ctx) => {
        const client = await alone.connect();
        await client.query("BEGIN");
        await ctx.complete("paid", client);
        await held;
        await client.query("ROLLBACK");
        client.release();
        return "rolled back";
      },
      { leaseMs: 3_000 },
    );
    const first = call("in", { key: "k" });
    const others = Array.from({ length: 20 }, () => payer(() => "never", { inFlight: "wait" })("in", { key: "k" }));
    // Renewals come upon the locked row meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    expect((await pool.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    release();
    expect(new Set(await Promise.all([first, ...others]))).toEqual(new Set(["rolled back"]));
  });

  it("refuses what is no open transaction on the store's own database, and writes nothing", async () => {
    const elsewhere = useDatabase();
    const other = await elsewhere.pool();
    const idle = await pool.connect();
    const foreign = await other.connect();
    await foreign.query("BEGIN");
    for (const tx of [idle, foreign, pool, {}, "tx", null]) {
      const call = payer((ctx) => ctx.complete("paid", tx));
      await expect(call("in", { key: "k" })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    }
    // A client that can't tell whether it is in a transaction.
    const plain = { query: (text: string, values?: unknown[]) => idle.query(text, values) };
    await expect(payer((ctx) => ctx.complete("paid", plain))("in", { key: "k" })).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: /no transaction/,
    });
    await idle.query("BEGIN");
    expect(
      await payer((ctx) =>
        ctx
          .complete("paid", plain)
          .then(() => idle.query("COMMIT"))
          .then(() => 1),
      )("in", { key: "k" }),
    ).toBe("paid");
    idle.release();
    foreign.release(true);
    await other.end();
    const { rows } = await pool.query(`SELECT status FROM ${tablePrefix}executions`);
    expect(rows).toEqual([{ status: "completed" }]);
  });

  it("passes a serialization failure of the user's transaction through as it is", async () => {
    const call = payer(
      async (ctx) => {
        const client = await pool.connect();
        try {
          await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
          await client.query("SELECT 1 FROM payments");
          await pool.query(`UPDATE ${tablePrefix}executions SET lease_expires_at = lease_expires_at + 1`);
          await ctx.complete("paid", client);
        } finally {
          await client.query("ROLLBACK");
          client.release();
        }
      },
      { leaseMs: 60_000 },
    );
    await expect(call("in", { key: "k" })).rejects.toMatchObject({ code: "40001" });
  });
});
