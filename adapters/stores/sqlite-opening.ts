import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";
import { makeDurable } from "./sqlite-durability.ts";
import { asStoreError, closedError, lockedError } from "./sqlite-errors.ts";
import { isBusy, isInTransaction, openSqlite, type SqliteHandle, withBoundedWait } from "./sqlite-handle.ts";
import { assertSchema, migrateSchema, type SqliteTables } from "./sqlite-schema.ts";

/** An opening that finds the database locked for longer than this fails; the next call opens again. */
const LONGEST_OPENING_MS = 30_000;
/** How long a lock is waited for before the event loop gets its turn; what is left of it is jitter. */
const SHORTEST_BUSY_RETRY_MS = 1;
const LONGEST_BUSY_RETRY_MS = 12;

export interface OpeningOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly synchronous: "full" | "normal";
  readonly tables: SqliteTables;
  /** Whether opening creates or upgrades the schema. Else it has to be there, and the file is as it was until a write. */
  readonly migrate: boolean;
}

/** The handle of a store: opened, looked at, made fit for writing, and closed if it was opened here. */
export class SqliteOpening {
  readonly #source: string | SqliteHandle;
  readonly #options: OpeningOptions;
  #connected: Promise<SqliteHandle> | undefined;
  #opening: Promise<SqliteHandle> | undefined;
  #opened: SqliteHandle | undefined;
  /** The last of what is done outside of the batches. */
  #turn: Promise<unknown> = Promise.resolve();
  #isDurable = false;
  #closed = false;

  constructor(source: string | SqliteHandle, options: OpeningOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Whether what is committed on the handle is as durable as the store promises. */
  get isDurable(): boolean {
    return this.#isDurable;
  }

  /** Opens, and makes sure of the schema, where that has not happened yet. A failure is tried again by the next call. */
  async open(): Promise<SqliteHandle> {
    this.#assertOpen();
    if (this.#opened !== undefined) return this.#opened;
    this.#opening ??= this.#exclusively((handle) => {
      if (this.#options.migrate) this.#migrate(handle);
      else assertSchema(handle, this.#options.tables);
      this.#opened = handle;
    }).finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Creates or upgrades the schema. */
  async migrate(): Promise<void> {
    await this.#exclusively((handle) => this.#migrate(handle));
  }

  /** Has to be done before the first write. It may change the file, so nothing that only reads does it. */
  async makeDurable(): Promise<void> {
    await this.#exclusively((handle) => this.#makeDurable(handle));
  }

  /** Closes the handle if it was opened here. */
  async close(): Promise<void> {
    this.#closed = true;
    // What is under way ends at its next look at #closed.
    await this.#turn;
    const handle = await this.#connected?.catch(() => undefined);
    if (typeof this.#source === "string") handle?.close();
  }

  /** A connection of our own never waits for locks; the user's is made not to for the moment. */
  withoutWaiting<T>(handle: SqliteHandle, work: () => T): T {
    return typeof this.#source === "string" ? work() : withBoundedWait(handle, 0, work);
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  /** Does `work` on the bare connection, one after the other, once the database is free. */
  #exclusively(work: (handle: SqliteHandle) => void): Promise<SqliteHandle> {
    const done = this.#turn.then(async () => {
      try {
        const handle = await this.#connect();
        await this.#untilFree(handle, () => work(handle));
        return handle;
      } catch (error) {
        await this.#giveUp();
        throw asStoreError(error);
      }
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  #connect(): Promise<SqliteHandle> {
    this.#assertOpen();
    this.#connected ??= connect(this.#source);
    return this.#connected;
  }

  #migrate(handle: SqliteHandle): void {
    this.#makeDurable(handle);
    migrateSchema(handle, this.#options.tables);
  }

  #makeDurable(handle: SqliteHandle): void {
    if (this.#isDurable) return;
    makeDurable(handle, this.#options.synchronous);
    this.#isDurable = true;
  }

  /** Where opening failed the next call opens the file anew: it may be another one by then, or one that can be written to. */
  async #giveUp(): Promise<void> {
    if (this.#opened !== undefined || this.#closed) return;
    const handle = await this.#connected?.catch(() => undefined);
    this.#connected = undefined;
    this.#isDurable = false;
    if (typeof this.#source === "string") handle?.close();
  }

  /** Does `work` once no transaction is open on the handle and no other connection holds the lock. */
  async #untilFree(handle: SqliteHandle, work: () => void): Promise<void> {
    const { clock, random } = this.#options;
    const deadline = clock.monotonic() + LONGEST_OPENING_MS;
    for (;;) {
      this.#assertOpen();
      try {
        if (!isInTransaction(handle)) return this.withoutWaiting(handle, work);
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
      if (clock.monotonic() >= deadline) throw lockedError();
      await clock.sleep(busyRetryMs(random));
    }
  }
}

/** How long to wait before a locked database is tried again. */
export function busyRetryMs(random: Random): number {
  return SHORTEST_BUSY_RETRY_MS + random.float() * (LONGEST_BUSY_RETRY_MS - SHORTEST_BUSY_RETRY_MS);
}

async function connect(source: string | SqliteHandle): Promise<SqliteHandle> {
  if (typeof source !== "string") return source;
  const handle = await openSqlite(source);
  handle.exec("PRAGMA busy_timeout = 0");
  return handle;
}
