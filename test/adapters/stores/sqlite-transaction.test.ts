import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { type SqliteHandle, type SqliteStore, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import {
  type EvenkeelEvent,
  type ExecutionContext,
  type IdempotencyOptions,
  withIdempotency,
} from "../../../src/index.ts";
import { ManualClock } from "../../../src/testing/index.ts";
import { drivers, temporaryFolder } from "../../support/sqlite-files.ts";

describe.each(drivers)("ctx.complete(value, tx) with $name", ({ open }) => {
  let folder: ReturnType<typeof temporaryFolder>;
  let db: SqliteHandle;
  let store: SqliteStore;
  let events: EvenkeelEvent[];

  beforeEach(() => {
    folder = temporaryFolder();
    db = open(folder.file("shop.db"));
    db.exec("CREATE TABLE payments (id TEXT)");
    store = sqliteStore(db);
    events = [];
  });
  afterEach(async () => {
    await store.close();
    db.close();
    folder.remove();
  });

  const payments = (): number => (db.prepare("SELECT count(*) AS n FROM payments").get() as { n: number }).n;

  const payer = (
    work: (ctx: ExecutionContext) => unknown,
    options: Partial<IdempotencyOptions<string, unknown>> = {},
  ) =>
    withIdempotency((_: string, ctx) => work(ctx), {
      store,
      operation: "pay",
      onEvent: (e) => events.push(e),
      ...options,
    });

  it("makes the effect and the completion visible together (I21)", async () => {
    const pay = payer(async (ctx) => {
      db.exec("BEGIN IMMEDIATE");
      db.prepare("INSERT INTO payments VALUES (?)").run(ctx.key);
      await ctx.complete({ paid: true }, db);
      db.exec("COMMIT");
      return { paid: true };
    });
    expect(await pay.run("in", { key: "k" })).toMatchObject({ value: { paid: true }, replayed: false });
    expect(await pay.run("in", { key: "k" })).toMatchObject({ value: { paid: true }, replayed: true });
    expect(payments()).toBe(1);
    expect(events.map(({ type }) => type)).toEqual(["claimed", "completed", "replayed"]);
  });

  it("counts also when the function throws after the commit: the caller gets the error, retries the value", async () => {
    const pay = payer(async (ctx) => {
      db.exec("BEGIN IMMEDIATE");
      db.prepare("INSERT INTO payments VALUES (?)").run(ctx.key);
      await ctx.complete("paid", db);
      db.exec("COMMIT");
      throw new Error("the receipt could not be printed");
    });
    await expect(pay("in", { key: "k" })).rejects.toThrow("receipt");
    expect(await pay("in", { key: "k" })).toBe("paid");
    expect(payments()).toBe(1);
  });

  it("counts for nothing when the user's transaction rolls back: the function's own outcome settles the record", async () => {
    let tries = 0;
    const pay = payer(async (ctx) => {
      tries += 1;
      db.exec("BEGIN IMMEDIATE");
      db.prepare("INSERT INTO payments VALUES (?)").run(ctx.key);
      await ctx.complete("paid", db);
      if (tries === 1) {
        db.exec("ROLLBACK");
        throw new Error("changed my mind");
      }
      db.exec("ROLLBACK");
      return "not paid";
    });
    await expect(pay("in", { key: "k" })).rejects.toThrow("changed my mind");
    expect(await pay.run("in", { key: "k" })).toMatchObject({ value: "not paid", attempt: 1 });
    expect(await pay("in", { key: "k" })).toBe("not paid");
    expect(payments()).toBe(0);
  });

  it("wins over what the function returns afterwards, and says so in an event", async () => {
    const pay = payer(async (ctx) => {
      db.exec("BEGIN IMMEDIATE");
      await ctx.complete("a", db);
      db.exec("COMMIT");
      return "b";
    });
    expect(await pay("in", { key: "k" })).toBe("a");
    expect(await pay("in", { key: "k" })).toBe("a");
    expect(events.map(({ type }) => type)).toContain("outcome_ignored");
  });

  it("throws synchronously for a stale attempt, so that a synchronous transaction rolls its writes back", async () => {
    const clock = new ManualClock(1_000_000);
    const ledger = sqliteStore(db, { clock });
    const options = { clock, leaseMs: 1_000 };
    const payInTransaction = (ctx: ExecutionContext, by: string): string => {
      db.exec("BEGIN IMMEDIATE");
      try {
        db.prepare("INSERT INTO payments VALUES (?)").run(by);
        // Not awaited: better-sqlite3's own transaction() can't wait for anything.
        void ctx.complete(by, db);
        db.exec("COMMIT");
      } catch (error) {
        db.exec("ROLLBACK");
        throw error;
      }
      return by;
    };
    // The holder's renewals don't get through: its store is away, as in a partition.
    const renew = (): Promise<never> => Promise.reject(new Error("cut off"));
    const cutOff = { ...ledger, executions: { ...ledger.executions, renew } };
    let resume = (): void => {};
    const paused = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const stale = payer((ctx) => paused.then(() => payInTransaction(ctx, "stale")), { ...options, store: cutOff });
    const winner = payer((ctx) => payInTransaction(ctx, "winner"), { ...options, store: ledger });

    const first = stale("in", { key: "k" });
    await clock.advance(2_000);
    expect(await winner("in", { key: "k" })).toBe("winner");
    resume();
    expect(await first).toBe("winner");
    expect(payments()).toBe(1);
    await ledger.close();
  });

  it("does not show an uncommitted completion to anybody", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const pay = payer(async (ctx) => {
      db.exec("BEGIN IMMEDIATE");
      await ctx.complete("paid", db);
      await held;
      db.exec("ROLLBACK");
      return "rolled back";
    });
    const first = pay("in", { key: "k" });
    const second = new Promise((resolve) => setImmediate(resolve)).then(() =>
      payer(() => "never", { inFlight: "wait" })("in", { key: "k" }),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    release();
    expect(await Promise.all([first, second])).toEqual(["rolled back", "rolled back"]);
  });

  it("works on another connection to the same file", async () => {
    const other = open(folder.file("shop.db"));
    other.exec("PRAGMA synchronous = FULL");
    const pay = payer(async (ctx) => {
      other.exec("BEGIN IMMEDIATE");
      other.prepare("INSERT INTO payments VALUES (?)").run(ctx.key);
      await ctx.complete("paid", other);
      other.exec("COMMIT");
      return "paid";
    });
    expect(await pay("in", { key: "k" })).toBe("paid");
    expect(await pay.run("in", { key: "k" })).toMatchObject({ replayed: true });
    other.close();
  });

  it("refuses another connection that commits less durably than the store", async () => {
    const other = open(folder.file("shop.db"));
    other.exec("PRAGMA synchronous = NORMAL");
    const pay = payer(async (ctx) => {
      other.exec("BEGIN IMMEDIATE");
      try {
        await ctx.complete("paid", other);
      } finally {
        other.exec("ROLLBACK");
      }
    });
    await expect(pay("in", { key: "k" })).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /FULL/ });
    other.close();
  });

  it("gives every caller what was completed first in the transaction", async () => {
    const pay = payer(async (ctx) => {
      db.exec("BEGIN IMMEDIATE");
      await ctx.complete("a", db);
      await ctx.complete("b", db);
      db.exec("COMMIT");
      await ctx.complete("c");
      return "d";
    });
    expect(await pay("in", { key: "k" })).toBe("a");
    expect(await pay("in", { key: "k" })).toBe("a");
  });

  it("works in a deferred transaction, also after it has read", async () => {
    const pay = payer(async (ctx) => {
      db.exec("BEGIN");
      expect(payments()).toBe(0);
      await ctx.complete("paid", db);
      db.exec("COMMIT");
      return "paid";
    });
    expect(await pay("in", { key: "k" })).toBe("paid");
    expect(await pay.run("in", { key: "k" })).toMatchObject({ replayed: true });
  });

  it("refuses what is no open transaction on the store's own file", async () => {
    const elsewhere = open(folder.file("elsewhere.db"));
    const closed = open(folder.file("shop.db"));
    closed.close();
    elsewhere.exec("BEGIN IMMEDIATE");
    for (const tx of [db, elsewhere, closed, {}, "tx", null]) {
      const pay = payer((ctx) => ctx.complete("paid", tx));
      await expect(pay("in", { key: "k" })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    }
    elsewhere.exec("ROLLBACK");
    elsewhere.close();
    const inMemory = withIdempotency((_: string, ctx) => ctx.complete("paid", db), {
      store: memoryStore(),
      operation: "pay",
    });
    await expect(inMemory("in", { key: "k" })).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: /transactions/,
    });
  });
});
