import { EvenkeelError } from "../../src/errors.ts";

/** What of a SQLite connection is used: better-sqlite3's `Database` and node:sqlite's `DatabaseSync` both have it. */
export interface SqliteHandle {
  prepare(sql: string): SqliteStatement;
  exec(sql: string): unknown;
  close(): unknown;
  /** better-sqlite3. */
  readonly inTransaction?: boolean;
  /** node:sqlite, from Node 22.16 and 24. */
  readonly isTransaction?: boolean;
}

export interface SqliteStatement {
  run(...values: SqliteValue[]): unknown;
  get(...values: SqliteValue[]): unknown;
  all(...values: SqliteValue[]): unknown[];
  /** better-sqlite3. */
  safeIntegers?(on: boolean): unknown;
}

export type SqliteValue = null | number | string | Uint8Array;

/** A connection that waits longer for a lock would stand still with the whole process, lease renewals included. */
const LONGEST_BLOCKING_WAIT_MS = 50;

export function isSqliteHandle(value: unknown): value is SqliteHandle {
  if (typeof value !== "object" || value === null) return false;
  const { prepare, exec, close } = value as Record<string, unknown>;
  return typeof prepare === "function" && typeof exec === "function" && typeof close === "function";
}

/**
 * Opens a file with node:sqlite, else with better-sqlite3.
 * @throws EvenkeelError `STORE_MISCONFIGURED` without a driver, or when the folder is not there.
 */
export async function openSqlite(path: string): Promise<SqliteHandle> {
  const builtIn = process.getBuiltinModule?.("node:sqlite") as { DatabaseSync: SqliteConstructor } | undefined;
  const Database = builtIn?.DatabaseSync ?? (await importBetterSqlite3());
  try {
    return new Database(path);
  } catch (cause) {
    // better-sqlite3 says so with a TypeError of its own; node:sqlite with SQLite's "unable to open database file".
    const permanent = cause instanceof TypeError || primaryCode(cause) === SQLITE_CANTOPEN;
    if (!permanent) throw cause;
    const message =
      "sqliteStore: the database file can't be opened: check that its folder exists and can be written to.";
    throw new EvenkeelError("STORE_MISCONFIGURED", message, { cause });
  }
}

type SqliteConstructor = new (path: string) => SqliteHandle;

async function importBetterSqlite3(): Promise<SqliteConstructor> {
  // A variable keeps bundlers from resolving an optional peer.
  const driver = "better-sqlite3";
  try {
    const loaded = (await import(/* @vite-ignore */ driver)) as { default: SqliteConstructor };
    return loaded.default;
  } catch (cause) {
    const message = "sqliteStore: no driver was found: install better-sqlite3, or use Node 22.13 or later.";
    throw new EvenkeelError("STORE_MISCONFIGURED", message, { cause });
  }
}

/** Prepares a statement that returns numbers, whatever the connection's default for integers is. */
export function prepare(handle: SqliteHandle, sql: string): SqliteStatement {
  const statement = handle.prepare(sql);
  statement.safeIntegers?.(false);
  return statement;
}

/** The one value of a pragma or query that has one. */
export function readValue(handle: SqliteHandle, sql: string): unknown {
  const row = prepare(handle, sql).get();
  return typeof row === "object" && row !== null ? Object.values(row)[0] : undefined;
}

/** Whether a transaction is open on the connection. */
export function isInTransaction(handle: SqliteHandle): boolean {
  const known = handle.inTransaction ?? handle.isTransaction;
  if (known !== undefined) return known;
  try {
    // Older node:sqlite can't be asked: a transaction inside a transaction is refused.
    handle.exec("BEGIN");
  } catch {
    return true;
  }
  handle.exec("ROLLBACK");
  return false;
}

/**
 * Does `work` with a bounded wait for locks, and leaves the connection's own setting as it was.
 * @param waitMs - how long a lock may be waited for, at most 50 ms: a synchronous driver blocks the event loop meanwhile.
 */
export function withBoundedWait<T>(handle: SqliteHandle, waitMs: number, work: () => T): T {
  const before = Number(readValue(handle, "PRAGMA busy_timeout"));
  const during = Math.min(before, waitMs, LONGEST_BLOCKING_WAIT_MS);
  if (during === before) return work();
  handle.exec(`PRAGMA busy_timeout = ${during}`);
  try {
    return work();
  } finally {
    handle.exec(`PRAGMA busy_timeout = ${before}`);
  }
}

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** SQLite's primary result codes by the names that better-sqlite3 gives; node:sqlite gives the number. */
const CODES: Readonly<Record<string, number>> = {
  SQLITE_BUSY,
  SQLITE_LOCKED,
  SQLITE_READONLY,
  SQLITE_CANTOPEN,
  SQLITE_NOTADB,
};

function primaryCode(error: unknown): number | undefined {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  // The low byte of an extended code is its primary code (sqlite.org/rescode.html).
  if (typeof errcode === "number") return errcode & 0xff;
  if (typeof code !== "string") return undefined;
  const name = /^SQLITE_[A-Z]+/.exec(code)?.[0];
  return name === undefined ? undefined : CODES[name];
}

/** Whether somebody else has the lock, or the user's own iteration has the connection: trying again later may do. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  if (code === SQLITE_BUSY || code === SQLITE_LOCKED) return true;
  return error instanceof TypeError && error.message.includes("connection is busy");
}

/** What stays wrong until somebody changes something, as the error that says what. */
export function misconfiguration(cause: unknown): EvenkeelError | undefined {
  switch (primaryCode(cause)) {
    case SQLITE_READONLY:
      return misconfigured("the database is read-only: open it for writing.", { cause });
    case SQLITE_NOTADB:
      return misconfigured("the file is not a SQLite database: name another file.", { cause });
    default:
      return undefined;
  }
}

export function misconfigured(what: string, options?: ErrorOptions): EvenkeelError {
  return new EvenkeelError("STORE_MISCONFIGURED", `sqliteStore: ${what}`, options);
}
