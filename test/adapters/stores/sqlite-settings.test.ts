import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type SqliteHandle, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { withIdempotency } from "../../../src/index.ts";
import { drivers, openDatabase, useTemporaryFolder } from "../../support/sqlite-files.ts";

const { folder, database } = useTemporaryFolder();

const pragma = (handle: SqliteHandle, name: string): unknown =>
  Object.values(handle.prepare(`PRAGMA ${name}`).get() as object)[0];

const call = (store: ReturnType<typeof sqliteStore>, storeTimeoutMs = 5_000): Promise<string> =>
  withIdempotency(() => "done", { store, operation: "o", storeTimeoutMs })("input", { key: "k" });

describe.each(drivers)("durability settings with $name", ({ open: openWith }) => {
  it("are WAL and FULL on a handle that had neither", async () => {
    const handle = openWith(folder.file("user.db"));
    handle.exec("PRAGMA synchronous = OFF");
    const store = sqliteStore(handle);
    await call(store);
    expect(pragma(handle, "journal_mode")).toBe("wal");
    expect(pragma(handle, "synchronous")).toBe(2);
    await store.close();
    handle.close();
  });

  it("are WAL and FULL on a second connection to a file that is WAL already", async () => {
    const first = openWith(folder.file("user.db"));
    await call(sqliteStore(first));
    const second = openWith(folder.file("user.db"));
    second.exec("PRAGMA synchronous = NORMAL");
    await call(sqliteStore(second));
    expect(pragma(second, "synchronous")).toBe(2);
    first.close();
    second.close();
  });

  it("are FULL on a fresh file whose level nobody had set, where opening the WAL would make it NORMAL", async () => {
    const handle = openWith(folder.file("fresh.db"));
    await call(sqliteStore(handle));
    expect(pragma(handle, "synchronous")).toBe(2);
    handle.close();
    const reopened = openWith(folder.file("fresh.db"));
    await call(sqliteStore(reopened));
    expect(pragma(reopened, "synchronous")).toBe(2);
    reopened.close();
  });

  it("keep EXTRA, which is more than FULL, and give NORMAL only when asked", async () => {
    const extra = openWith(folder.file("extra.db"));
    extra.exec("PRAGMA synchronous = EXTRA");
    await call(sqliteStore(extra));
    expect(pragma(extra, "synchronous")).toBe(3);
    extra.close();
    const normal = openWith(folder.file("normal.db"));
    await call(sqliteStore(normal, { synchronous: "normal" }));
    expect(pragma(normal, "synchronous")).toBe(1);
    normal.close();
  });

  it("are left as they were by who only reads a ledger that has to be there, and set before the first write", async () => {
    const handle = openWith(folder.file("user.db"));
    await sqliteStore(handle).migrate();
    handle.exec("PRAGMA journal_mode = DELETE");
    handle.exec("PRAGMA synchronous = NORMAL");
    const store = sqliteStore(handle, { migrate: false });
    expect(await store.executions.list({ limit: 10 }, { timeoutMs: 5_000 })).toEqual([]);
    expect([pragma(handle, "journal_mode"), pragma(handle, "synchronous")]).toEqual(["delete", 1]);
    await call(store);
    expect([pragma(handle, "journal_mode"), pragma(handle, "synchronous")]).toEqual(["wal", 2]);
    handle.close();
  });

  it("leave the user's own busy_timeout as it was", async () => {
    const handle = openWith(folder.file("user.db"));
    handle.exec("PRAGMA busy_timeout = 4321");
    await call(sqliteStore(handle));
    expect(pragma(handle, "busy_timeout")).toBe(4321);
    handle.close();
  });

  it("never close the user's handle", async () => {
    const handle = openWith(folder.file("user.db"));
    const store = sqliteStore(handle);
    await call(store);
    await store.close();
    await store.close();
    expect(handle.prepare("SELECT 1 AS one").get()).toEqual(expect.objectContaining({ one: 1 }));
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    handle.close();
  });
});

describe("wrong settings", () => {
  it.each(['x"; DROP TABLE', "", "Upper", "9lives", "a".repeat(42)])("refuse the table prefix %j", (tablePrefix) => {
    expect(() => sqliteStore(folder.file("l.db"), { tablePrefix })).toThrow(
      expect.objectContaining({ code: "STORE_MISCONFIGURED", message: expect.stringContaining("tablePrefix") }),
    );
  });

  it.each([
    [{ synchronous: "off" }, "synchronous"],
    [{ migrate: 1 }, "migrate"],
    [{ busyTimeout: 5 }, "busyTimeout"],
  ])("refuse the options %j by name", (options, name) => {
    expect(() => sqliteStore(folder.file("l.db"), options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });

  it("refuse what is neither a path nor a handle", () => {
    for (const wrong of ["", undefined, 7, {}]) {
      expect(() => sqliteStore(wrong as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    }
  });

  it("say that a folder is missing", async () => {
    const store = sqliteStore(folder.file("missing/ledger.db"));
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /folder/ });
    await store.close();
  });

  it("say that a file is no database, and leave it as it is", async () => {
    writeFileSync(folder.file("letter.txt"), "Dear Sir or Madam, ".repeat(100));
    const store = sqliteStore(folder.file("letter.txt"));
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /not a SQLite database/ });
    await store.close();
  });

  it("say of a database without a ledger that it holds none, and open it anew once it is another", async () => {
    const path = folder.file("other.db");
    openDatabase(path).exec("CREATE TABLE mine (a)");
    const before = readFileSync(path);
    const store = sqliteStore(path, { migrate: false });
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /holds no ledger/ });
    expect(readFileSync(path).equals(before)).toBe(true);
    const ledger = sqliteStore(folder.file("ledger.db"));
    await ledger.migrate();
    await ledger.close();
    renameSync(folder.file("ledger.db"), path);
    expect(await call(store)).toBe("done");
    await store.close();
  });

  it("say that a ledger is of a newer schema, and change nothing", async () => {
    const handle = database();
    await call(sqliteStore(handle));
    handle.exec("UPDATE evenkeel_schema SET version = 99");
    const store = sqliteStore(folder.file("ledger.db"));
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /newer/ });
    await store.close();
    expect(handle.prepare("SELECT count(*) AS n FROM evenkeel_executions").get()).toMatchObject({ n: 1 });
  });

  it("say that a database can't be written to", async () => {
    const handle = database();
    handle.exec("PRAGMA query_only = ON");
    await expect(call(sqliteStore(handle))).rejects.toMatchObject({ code: "STORE_MISCONFIGURED" });
  });
});

describe("the schema", () => {
  it("is made by migrate() alone when the store is told not to", async () => {
    const store = sqliteStore(folder.file("ledger.db"), { migrate: false });
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /migrate\(\)/ });
    await store.migrate();
    await store.migrate();
    expect(await call(store)).toBe("done");
    await store.close();
  });

  it("stands beside the user's tables, and beside another ledger under another prefix", async () => {
    const handle = database();
    handle.exec("CREATE TABLE executions (mine TEXT)");
    const [a, b] = [sqliteStore(handle, { tablePrefix: "a_" }), sqliteStore(handle, { tablePrefix: "b_" })];
    let runs = 0;
    for (const store of [a, b]) {
      const once = withIdempotency(() => ++runs, { store, operation: "o" });
      await once("input", { key: "k" });
    }
    expect(runs).toBe(2);
    expect(handle.prepare("SELECT count(*) AS n FROM executions").get()).toMatchObject({ n: 0 });
  });

  it("works in memory too", async () => {
    const store = sqliteStore(":memory:");
    await store.migrate();
    expect(await call(store)).toBe("done");
    expect(await call(store)).toBe("done");
    await store.close();
  });

  it("leaves the key itself out where storeKeys is false", async () => {
    const handle = database();
    const keyless = sqliteStore(handle, { storeKeys: false });
    const once = withIdempotency(() => 1, { store: keyless, operation: "o" });
    await once("input", { key: "very-secret-key" });
    const dump = JSON.stringify(handle.prepare("SELECT * FROM evenkeel_executions").all());
    expect(dump).not.toContain("very-secret-key");
  });
});
