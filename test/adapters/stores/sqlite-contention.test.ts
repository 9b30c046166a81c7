import { describe, expect, it } from "vitest";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { withIdempotency } from "../../../src/index.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";

const { folder, database } = useTemporaryFolder();

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The longest time for which the event loop stood still while `work` went on, in milliseconds of CPU or waiting. */
async function longestStandstill(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  await work.catch(() => {});
  clearInterval(timer);
  return longest;
}

describe("a SQLite file that another connection has locked", () => {
  // The threshold is that of a synchronous wait of 10 s against none; a busy machine alone stays far below it.
  it.each(["path", "handle"])("does not stop the event loop of a store on a %s", async (source) => {
    const handle = database();
    handle.exec("PRAGMA busy_timeout = 10000");
    const store = sqliteStore(source === "path" ? folder.file("ledger.db") : handle);
    const once = withIdempotency(() => "done", { store, operation: "o", storeTimeoutMs: 10_000 });
    await once("input", { key: "before" });
    const locker = database();
    locker.exec("BEGIN IMMEDIATE");
    let runs = 0;
    const locked = withIdempotency(() => ++runs, { store, operation: "p", storeTimeoutMs: 700 })("input", { key: "k" });
    const standstill = await longestStandstill(locked);
    await expect(locked).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(runs).toBe(0);
    expect(standstill).toBeLessThan(8_000);
    locker.exec("ROLLBACK");
    expect(await once("input", { key: "after" })).toBe("done");
    await store.close();
  });

  it("still answers replays, which need no lock", async () => {
    const store = sqliteStore(folder.file("ledger.db"));
    const once = withIdempotency(() => "done", { store, operation: "o", storeTimeoutMs: 10_000 });
    await once("input", { key: "k" });
    const locker = database();
    locker.exec("BEGIN IMMEDIATE");
    expect(await once.run("input", { key: "k" })).toMatchObject({ value: "done", replayed: true });
    locker.exec("ROLLBACK");
    await store.close();
  });

  it("is served as soon as the lock is gone", async () => {
    const store = sqliteStore(folder.file("ledger.db"));
    await store.migrate();
    const locker = database();
    locker.exec("BEGIN IMMEDIATE");
    const waiting = withIdempotency(() => "done", { store, operation: "o" })("input", { key: "k" });
    await pause(60);
    locker.exec("COMMIT");
    expect(await waiting).toBe("done");
    await store.close();
  });
});

describe("calls at the same time", () => {
  it("share transactions: 64 first calls take a handful of commits, not 128", async () => {
    const handle = database();
    const store = sqliteStore(handle);
    const once = withIdempotency((n: number) => n, { store, operation: "o" });
    await once(0, { key: "first" });
    let transactions = 0;
    const { exec } = handle;
    handle.exec = function counted(sql: string) {
      if (sql === "BEGIN IMMEDIATE") transactions += 1;
      return exec.call(this, sql);
    };
    const values = await Promise.all(Array.from({ length: 64 }, (_, n) => once(n, { key: `k${n}` })));
    expect(values).toEqual(Array.from({ length: 64 }, (_, n) => n));
    expect(transactions).toBeLessThanOrEqual(16);
    await store.close();
  });

  it("never write into a transaction that the user has open on the same handle", async () => {
    const handle = database();
    const store = sqliteStore(handle);
    const once = withIdempotency(() => "done", { store, operation: "o" });
    await once("input", { key: "before" });
    handle.exec("BEGIN");
    const waiting = once("input", { key: "k" });
    await pause(40);
    handle.exec("ROLLBACK");
    expect(await waiting).toBe("done");
    expect(await once.run("input", { key: "k" })).toMatchObject({ replayed: true });
    await store.close();
  });

  it("that wait when the store is closed are refused", async () => {
    const store = sqliteStore(folder.file("ledger.db"));
    const once = withIdempotency(() => "done", { store, operation: "o" });
    await once("input", { key: "before" });
    const locker = database();
    locker.exec("BEGIN IMMEDIATE");
    const waiting = once("input", { key: "k" });
    waiting.catch(() => {});
    await pause(20);
    await store.close();
    await expect(waiting).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    locker.exec("ROLLBACK");
  });
});
