import { type Clock, systemClock } from "../../src/clock.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import { type Random, systemRandom } from "../../src/random.ts";
import type { LedgerStore } from "../../src/store.ts";
import { PostgresConnection } from "./postgres-connection.ts";
import {
  isPGlite,
  isPostgresPool,
  type PGliteDatabase,
  type PostgresDriver,
  type PostgresPool,
} from "./postgres-driver.ts";
import { postgresExecutions } from "./postgres-executions.ts";
import { postgresLeases } from "./postgres-leases.ts";
import { acceptPrefix, DEFAULT_TABLE_PREFIX } from "./postgres-names.ts";
import { PostgresNotifications } from "./postgres-notifications.ts";
import { pgliteDriver } from "./postgres-pglite.ts";
import { ownPool, userPool } from "./postgres-pool.ts";
import { postgresResources } from "./postgres-resources.ts";

export type { PGliteDatabase, PGliteTransaction, PostgresPool, PostgresPoolClient } from "./postgres-driver.ts";

export interface PostgresStoreOptions {
  /** What the names of the tables and functions begin with: `^[a-z_][a-z0-9_]{0,40}$`. Defaults to `"evenkeel_"`. */
  readonly tablePrefix?: string;
  /**
   * The schema that the ledger is in, which must exist, whatever a connection's `search_path` is. Defaults to where the
   * `search_path` leads when the store is first used.
   */
  readonly schema?: string;
  /** Whether the first use creates or upgrades the schema. Defaults to true. */
  readonly migrate?: boolean;
  /** Whether the user's own key is kept beside its digest, for people to look up. Defaults to true. */
  readonly storeKeys?: boolean;
  /**
   * Whether those who wait for another process's outcome are woken by LISTEN and NOTIFY instead of looking for themselves.
   * It takes one connection more, outside of the pool; a URL says where to, for a pool that goes through pgbouncer. All
   * processes need the same. Defaults to true for a URL and for PGlite, to false for a pool.
   */
  readonly listen?: boolean | string;
  /** Bounds and retries of calls; leases and retention are judged by the database's own clock. Defaults to the machine's. */
  readonly clock?: Clock;
  /** The jitter of retries. Defaults to the machine's randomness. */
  readonly random?: Random;
}

/** A ledger in a PostgreSQL database. */
export interface PostgresStore extends LedgerStore {
  /**
   * Creates or upgrades the schema; safe to call from many processes at once.
   * @throws EvenkeelError `STORE_MISCONFIGURED`, `STORE_UNAVAILABLE`.
   */
  migrate(): Promise<void>;
}

const OPTIONS: OptionRules = {
  tablePrefix: rules.custom("a string", (value) => typeof value === "string"),
  schema: rules.custom("the name of a schema", (name) => typeof name === "string" && /^[^\0]{1,63}$/u.test(name)),
  migrate: rules.flag,
  storeKeys: rules.flag,
  listen: rules.either(rules.flag, rules.custom("a postgres:// URL", isUrl)),
  clock: rules.clock,
  random: rules.random,
};

/**
 * A ledger in a PostgreSQL database. Its guarantees hold over crashes and power loss of the primary, and over a failover
 * where commits wait for a quorum of synchronous standbys; not over a failover to an asynchronous one.
 *
 * Takes a `pg` Pool or a PGlite database, which are never closed, or a URL, for which a pool of its own is made with the
 * `pg` that you install. Claim and completion are one statement each, a transaction of its own; no connection is held
 * while anything else is waited for. Works through pgbouncer in transaction mode.
 *
 * `ctx.complete(value, client)` writes the outcome inside the transaction that is open on the client.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`; `STORE_MISCONFIGURED` for a table prefix that would need quoting.
 * @example
 * ```ts
 * const store = postgresStore(new Pool({ connectionString: process.env.DATABASE_URL }));
 * ```
 */
export function postgresStore(
  poolOrUrl: string | PostgresPool | PGliteDatabase,
  options: PostgresStoreOptions = {},
): PostgresStore {
  acceptOptions("postgresStore", OPTIONS, options);
  const { migrate = true, storeKeys = true, clock = systemClock, random = systemRandom } = options;
  const listen = options.listen ?? !isPostgresPool(poolOrUrl);
  const place = { prefix: acceptPrefix(options.tablePrefix ?? DEFAULT_TABLE_PREFIX), schema: options.schema };
  const driver = driverFor(poolOrUrl, { clock, listenUrl: typeof listen === "string" ? listen : undefined });
  const connection = new PostgresConnection({ driver, clock, random, place, migrate });
  const notifications = new PostgresNotifications({ connection, clock, random, listen: listen !== false });
  return {
    executions: postgresExecutions({ connection, notifications, storeKeys }),
    resources: postgresResources(connection),
    leases: postgresLeases(connection),
    migrate: () => connection.migrate(),
    close: () => connection.close(),
  };
}

function driverFor(source: unknown, options: { clock: Clock; listenUrl: string | undefined }): PostgresDriver {
  if (isUrl(source)) return ownPool(source, options);
  if (isPostgresPool(source)) return userPool(source, options);
  if (isPGlite(source)) return pgliteDriver(source, options);
  throw invalidOptions(
    "postgresStore",
    "the first argument must be a Pool of pg, a PGlite database, or a postgres:// URL",
  );
}

function isUrl(value: unknown): value is string {
  return typeof value === "string" && /^postgres(ql)?:\/\//.test(value);
}
