import { afterPendingIo, type Clock, type Timer } from "../../src/clock.ts";
import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import type { Random } from "../../src/random.ts";
import type { StoreCall } from "../../src/store.ts";
import { FULL, fileOf, makeDurable, synchronousLevel } from "./sqlite-durability.ts";
import {
  isBusy,
  isInTransaction,
  isSqliteHandle,
  misconfiguration,
  misconfigured,
  openSqlite,
  prepare,
  type SqliteHandle,
  type SqliteStatement,
  withBoundedWait,
} from "./sqlite-handle.ts";

/** A batch ends after this long, so that I/O gets its turn. */
const LONGEST_BATCH_MS = 10;
/** How long a lock is waited for before the event loop gets its turn; what is left of it is jitter. */
const SHORTEST_BUSY_RETRY_MS = 1;
const LONGEST_BUSY_RETRY_MS = 12;

/** An opening that finds the database locked for longer than this fails; the next call opens again. */
const LONGEST_OPENING_MS = 30_000;

/** Work inside a transaction. It may be done again from the start, so it keeps nothing outside of the database. */
type Work<T> = (connection: PreparedConnection) => T;

interface Job {
  readonly work: Work<unknown>;
  readonly deadline: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly synchronous: "full" | "normal";
  /** Makes the schema ready; called once a connection, may find the database busy. */
  readonly setUp: (handle: SqliteHandle) => void;
}

/** A connection and its statements, each prepared once. */
export class PreparedConnection {
  readonly handle: SqliteHandle;
  readonly #statements = new Map<string, SqliteStatement>();

  constructor(handle: SqliteHandle) {
    this.handle = handle;
  }

  statement(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = prepare(this.handle, sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * One connection, shared by all calls of a store. Writes that are asked for in the same turn of the event loop become one
 * transaction (group commit: one fsync for all), and a database that is locked is tried again later instead of waited for.
 *
 * A transaction that the user has open on the same handle is never written into: our work waits until it has ended.
 */
export class SqliteConnection {
  readonly #source: string | SqliteHandle;
  readonly #options: ConnectionOptions;
  #connection: PreparedConnection | undefined;
  #connected: Promise<SqliteHandle> | undefined;
  #opening: Promise<void> | undefined;
  #closed = false;
  #queue: Job[] = [];
  #scheduled = false;
  #retryTimer: Timer | undefined;

  constructor(source: string | SqliteHandle, options: ConnectionOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Opens, and makes the schema ready, where that has not happened yet. A failure is tried again by the next call. */
  async open(): Promise<void> {
    this.#assertOpen();
    if (this.#connection !== undefined) return;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  /** Does `work` on the bare connection, outside of the batches, once the database is free. */
  async exclusively(work: (handle: SqliteHandle) => void): Promise<void> {
    const handle = await this.#connect();
    try {
      await this.#untilFree(handle, () => work(handle));
    } catch (error) {
      throw asStoreError(error);
    }
  }

  /** Reads at once where the connection is free, else with the next batch. `work` must not write. */
  async read<T>(call: StoreCall, work: Work<T>): Promise<T> {
    if (this.#connection === undefined) await this.open();
    this.#assertOpen();
    const connection = this.#connection as PreparedConnection;
    try {
      if (!isInTransaction(connection.handle)) return this.#withoutWaiting(connection.handle, () => work(connection));
    } catch (error) {
      if (!isBusy(error)) throw asStoreError(error);
    }
    return this.write(call, work);
  }

  /** Does `work` in a transaction, together with what else is asked for in this turn of the event loop. */
  async write<T>(call: StoreCall, work: Work<T>): Promise<T> {
    const deadline = this.#options.clock.monotonic() + call.timeoutMs;
    if (this.#connection === undefined) await this.open();
    this.#assertOpen();
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, deadline, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule();
    });
  }

  /**
   * Does `work` in the transaction that the user has open, on this handle or on another one of the same file.
   * @throws EvenkeelError `INVALID_OPTIONS`; `STORE_MISCONFIGURED` when the transaction would be less durable than the store.
   */
  inTransaction<T>(tx: unknown, work: Work<T>): T {
    this.#assertOpen();
    try {
      const on = this.#connectionFor(tx);
      if (!isInTransaction(on.handle)) throw unusable("no transaction is open on tx");
      return withBoundedWait(on.handle, Number.POSITIVE_INFINITY, () => work(on));
    } catch (error) {
      throw asStoreError(error);
    }
  }

  #connectionFor(tx: unknown): PreparedConnection {
    const own = this.#connection;
    if (own !== undefined && tx === own.handle) return own;
    const file = own === undefined ? "" : fileOf(own.handle);
    if (!isSqliteHandle(tx) || file === "" || fileOf(tx) !== file) {
      throw unusable("tx must be an open SQLite connection to the store's own file");
    }
    // It can't be changed inside a transaction, and the commit is as durable as the connection that makes it.
    const isEnough = this.#options.synchronous !== "full" || synchronousLevel(tx) >= FULL;
    if (!isEnough) throw misconfigured("tx commits with synchronous=NORMAL: set PRAGMA synchronous = FULL on it.");
    return new PreparedConnection(tx);
  }

  /** Refuses what is queued, and closes the handle if it was opened here. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#retryTimer?.clear();
    for (const job of this.#queue.splice(0)) job.reject(closedError());
    // An opening that is under way ends at its next look at #closed.
    await this.#opening?.catch(() => {});
    const handle = await this.#connected?.catch(() => undefined);
    if (typeof this.#source === "string") handle?.close();
    this.#connection = undefined;
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  async #open(): Promise<void> {
    await this.exclusively(this.#options.setUp);
    const handle = await this.#connect();
    this.#assertOpen();
    this.#connection = new PreparedConnection(handle);
  }

  #connect(): Promise<SqliteHandle> {
    this.#assertOpen();
    this.#connected ??= this.#connectOnce().catch((error: unknown) => {
      this.#connected = undefined;
      throw asStoreError(error);
    });
    return this.#connected;
  }

  async #connectOnce(): Promise<SqliteHandle> {
    if (typeof this.#source !== "string") {
      const handle = this.#source;
      await this.#untilFree(handle, () => makeDurable(handle, this.#options.synchronous));
      return handle;
    }
    const handle = await openSqlite(this.#source);
    try {
      handle.exec("PRAGMA busy_timeout = 0");
      await this.#untilFree(handle, () => makeDurable(handle, this.#options.synchronous));
      return handle;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /** Does `work` once no transaction is open on the handle and no other connection holds the lock. */
  async #untilFree(handle: SqliteHandle, work: () => void): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + LONGEST_OPENING_MS;
    for (;;) {
      this.#assertOpen();
      try {
        if (!isInTransaction(handle)) return this.#withoutWaiting(handle, work);
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
      if (clock.monotonic() >= deadline) throw lockedError();
      await clock.sleep(this.#busyRetryMs());
    }
  }

  /** A connection of our own never waits for locks; the user's is made not to for the moment. */
  #withoutWaiting<T>(handle: SqliteHandle, work: () => T): T {
    return typeof this.#source === "string" ? work() : withBoundedWait(handle, 0, work);
  }

  #schedule(): void {
    // A pending retry comes by itself; more work makes the lock no freer.
    if (this.#scheduled || this.#retryTimer !== undefined) return;
    this.#scheduled = true;
    afterPendingIo(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#closed || this.#connection === undefined) return;
    const now = this.#options.clock.monotonic();
    const late = this.#queue.filter((job) => job.deadline <= now);
    this.#queue = this.#queue.filter((job) => job.deadline > now);
    for (const job of late) job.reject(lockedError());
    if (this.#queue.length === 0) return;
    const { handle } = this.#connection;
    try {
      if (isInTransaction(handle)) return this.#retryLater();
      this.#withoutWaiting(handle, () => handle.exec("BEGIN IMMEDIATE"));
    } catch (error) {
      if (isBusy(error)) return this.#retryLater();
      for (const job of this.#queue.splice(0)) job.reject(asStoreError(error));
      return;
    }
    this.#commitBatch(this.#connection);
    if (this.#queue.length > 0) this.#schedule();
  }

  /** Does as many jobs as fit into one transaction. Each job either writes all of its own or nothing. */
  #commitBatch(connection: PreparedConnection): void {
    const { clock } = this.#options;
    const endAt = clock.monotonic() + LONGEST_BATCH_MS;
    const batch: { readonly job: Job; settle: () => void }[] = [];
    try {
      do {
        const job = this.#queue.shift() as Job;
        const done = { job, settle: () => {} };
        batch.push(done);
        connection.statement("SAVEPOINT evenkeel_job").run();
        try {
          const value = job.work(connection);
          done.settle = () => job.resolve(value);
        } catch (error) {
          connection.statement("ROLLBACK TO evenkeel_job").run();
          done.settle = () => job.reject(asStoreError(error));
        }
        connection.statement("RELEASE evenkeel_job").run();
      } while (this.#queue.length > 0 && clock.monotonic() < endAt);
      connection.statement("COMMIT").run();
    } catch (error) {
      // Some errors (disk full, I/O) end the transaction by themselves (sqlite.org/lang_transaction.html).
      if (isInTransaction(connection.handle)) connection.handle.exec("ROLLBACK");
      for (const { job } of batch) job.reject(asStoreError(error));
      return;
    }
    for (const { settle } of batch) settle();
  }

  #retryLater(): void {
    this.#retryTimer = this.#options.clock.setTimer(this.#busyRetryMs(), () => {
      this.#retryTimer = undefined;
      this.#flush();
    });
  }

  #busyRetryMs(): number {
    return SHORTEST_BUSY_RETRY_MS + this.#options.random.float() * (LONGEST_BUSY_RETRY_MS - SHORTEST_BUSY_RETRY_MS);
  }
}

function unusable(what: string): EvenkeelError {
  return new EvenkeelError("INVALID_OPTIONS", `ctx.complete: ${what}.`);
}

/** An engine's error as the contract has it. */
function asStoreError(cause: unknown): EvenkeelError {
  if (isEvenkeelError(cause)) return cause;
  const what = isBusy(cause) ? "is locked" : "failed";
  return misconfiguration(cause) ?? new EvenkeelError("STORE_UNAVAILABLE", `The SQLite database ${what}.`, { cause });
}

function lockedError(): EvenkeelError {
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    "The SQLite database was not written in time: it was locked, or the process held up.",
  );
}

function closedError(): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "The SQLite store is closed.");
}
