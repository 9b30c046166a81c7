import { afterPendingIo, type Timer } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import type { StoreCall } from "../../src/store.ts";
import { FULL, fileOf, synchronousLevel } from "./sqlite-durability.ts";
import { asStoreError, closedError, lockedError } from "./sqlite-errors.ts";
import {
  isBusy,
  isInTransaction,
  isSqliteHandle,
  misconfigured,
  prepare,
  type SqliteHandle,
  type SqliteStatement,
  withBoundedWait,
} from "./sqlite-handle.ts";
import { busyRetryMs, type OpeningOptions, SqliteOpening } from "./sqlite-opening.ts";

/** A batch ends after this long, so that I/O gets its turn. */
const LONGEST_BATCH_MS = 10;
/** Work inside a transaction. It may be done again from the start, so it keeps nothing outside of the database. */
type Work<T> = (connection: PreparedConnection) => T;

interface Job {
  readonly work: Work<unknown>;
  readonly deadline: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
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
  readonly #options: OpeningOptions;
  readonly #opening: SqliteOpening;
  #connection: PreparedConnection | undefined;
  #closed = false;
  #queue: Job[] = [];
  #scheduled = false;
  #retryTimer: Timer | undefined;

  constructor(source: string | SqliteHandle, options: OpeningOptions) {
    this.#options = options;
    this.#opening = new SqliteOpening(source, options);
  }

  /** Creates or upgrades the schema. */
  migrate(): Promise<void> {
    return this.#opening.migrate();
  }

  /** Reads at once where the connection is free, else with the next batch. `work` must not write. */
  async read<T>(call: StoreCall, work: Work<T>): Promise<T> {
    const deadline = this.#deadlineOf(call);
    const connection = this.#connection ?? (await this.#open());
    this.#assertOpen();
    try {
      const { handle } = connection;
      if (!isInTransaction(handle)) return this.#opening.withoutWaiting(handle, () => work(connection));
    } catch (error) {
      if (!isBusy(error)) throw asStoreError(error);
    }
    return this.#inBatch(deadline, work);
  }

  /** Does `work` in a transaction, together with what else is asked for in this turn of the event loop. */
  async write<T>(call: StoreCall, work: Work<T>): Promise<T> {
    const deadline = this.#deadlineOf(call);
    if (this.#connection === undefined) await this.#open();
    if (!this.#opening.isDurable) await this.#opening.makeDurable();
    this.#assertOpen();
    return this.#inBatch(deadline, work);
  }

  #deadlineOf({ timeoutMs }: StoreCall): number {
    return this.#options.clock.monotonic() + timeoutMs;
  }

  #inBatch<T>(deadline: number, work: Work<T>): Promise<T> {
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
    if (own !== undefined && this.#opening.isDurable && tx === own.handle) return own;
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
    await this.#opening.close();
    this.#connection = undefined;
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  async #open(): Promise<PreparedConnection> {
    const handle = await this.#opening.open();
    // Opened for several calls at once, it is one connection all the same.
    this.#connection ??= new PreparedConnection(handle);
    return this.#connection;
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
      this.#opening.withoutWaiting(handle, () => handle.exec("BEGIN IMMEDIATE"));
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
    this.#retryTimer = this.#options.clock.setTimer(busyRetryMs(this.#options.random), () => {
      this.#retryTimer = undefined;
      this.#flush();
    });
  }
}

function unusable(what: string): EvenkeelError {
  return new EvenkeelError("INVALID_OPTIONS", `ctx.complete: ${what}.`);
}
