import { resolve } from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import { type Random, systemRandom } from "../../src/random.ts";
import type { LedgerStore } from "../../src/store.ts";
import { SqliteConnection } from "./sqlite-connection.ts";
import { sqliteExecutions } from "./sqlite-executions.ts";
import { isSqliteHandle, type SqliteHandle } from "./sqlite-handle.ts";
import { sqliteLeases } from "./sqlite-leases.ts";
import { sqliteResources } from "./sqlite-resources.ts";
import { DEFAULT_TABLE_PREFIX, tablesOf } from "./sqlite-schema.ts";

export type { SqliteHandle, SqliteStatement, SqliteValue } from "./sqlite-handle.ts";

export interface SqliteStoreOptions {
  /**
   * `"full"` survives power loss. `"normal"` survives a crash of the process only: power loss may take the last commits.
   * Defaults to `"full"`.
   */
  readonly synchronous?: "full" | "normal";
  /** What the names of the tables begin with: `^[a-z_][a-z0-9_]{0,40}$`. Defaults to `"evenkeel_"`. */
  readonly tablePrefix?: string;
  /**
   * Whether the first use creates or upgrades the schema. Where it doesn't, the ledger has to be there, and reads leave the
   * file as it is: its settings are set before the first write. Defaults to true.
   */
  readonly migrate?: boolean;
  /** Whether the user's own key is kept beside its digest, for people to look up. Defaults to true. */
  readonly storeKeys?: boolean;
  /** The store's clock; all processes on one file need the same. Defaults to the machine's. */
  readonly clock?: Clock;
  /** The jitter of retries on a locked database. Defaults to the machine's randomness. */
  readonly random?: Random;
}

/** A ledger in a SQLite file. */
export interface SqliteStore extends LedgerStore {
  /**
   * Creates or upgrades the schema; safe to call from many processes at once.
   * @throws EvenkeelError `STORE_MISCONFIGURED`, `STORE_UNAVAILABLE`.
   */
  migrate(): Promise<void>;
}

const OPTIONS: OptionRules = {
  synchronous: rules.oneOf("full", "normal"),
  tablePrefix: rules.custom("a string", (value) => typeof value === "string"),
  migrate: rules.flag,
  storeKeys: rules.flag,
  clock: rules.clock,
  random: rules.random,
};

/**
 * A ledger in a SQLite file: the embedded default. Its guarantees hold over crashes, power loss and many processes of one
 * host; not over network file systems, nor over disks that lie about fsync.
 *
 * Takes a path, which is opened on first use with node:sqlite (Node 22.13) or else better-sqlite3, or an open handle of
 * either, which is never closed and whose `synchronous` and `journal_mode` are set to what the guarantees need. Calls made
 * in one turn of the event loop share a transaction; a locked database never blocks the event loop for more than 50 ms.
 *
 * `ctx.complete(value, handle)` writes the outcome inside the transaction that is open on the handle.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`; `STORE_MISCONFIGURED` for a table prefix that would need quoting.
 * @example
 * ```ts
 * const store = sqliteStore("ledger.db");
 * ```
 */
export function sqliteStore(fileOrHandle: string | SqliteHandle, options: SqliteStoreOptions = {}): SqliteStore {
  acceptOptions("sqliteStore", OPTIONS, options);
  const isFile = typeof fileOrHandle === "string" && fileOrHandle !== "";
  if (!isFile && !isSqliteHandle(fileOrHandle)) {
    throw invalidOptions(
      "sqliteStore",
      "the first argument must be a path, or a handle of better-sqlite3 or node:sqlite",
    );
  }
  const { synchronous = "full", migrate = true, storeKeys = true } = options;
  const { clock = systemClock, random = systemRandom } = options;
  const tables = tablesOf(options.tablePrefix ?? DEFAULT_TABLE_PREFIX);
  const connection = new SqliteConnection(isFile ? absolute(fileOrHandle) : fileOrHandle, {
    clock,
    random,
    synchronous,
    tables,
    migrate,
  });
  return {
    executions: sqliteExecutions({ connection, tables, clock, storeKeys }),
    resources: sqliteResources({ connection, tables, clock }),
    leases: sqliteLeases({ connection, tables, clock }),
    migrate: () => connection.migrate(),
    close: () => connection.close(),
  };
}

/** Fixed now, so that a later `chdir` opens no other file. Names of SQLite's own (`:memory:`, `file:` URIs) stay. */
function absolute(path: string): string {
  return path.startsWith(":") || path.startsWith("file:") ? path : resolve(path);
}
