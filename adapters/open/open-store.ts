import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import { acceptOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import type { LedgerStore } from "../../src/store.ts";
import { memoryStore } from "../stores/memory.ts";
import { postgresStore } from "../stores/postgres.ts";
import { redisStore } from "../stores/redis.ts";
import { sqliteStore } from "../stores/sqlite.ts";
import { connectRedis } from "./redis-client.ts";
import { acceptUrl, type StoreEngine, sqliteFile } from "./store-url.ts";

export type { StoreEngine } from "./store-url.ts";

export interface OpenStoreOptions {
  /**
   * `"create"` makes the ledger where there is none, and upgrades an older one; `"existing"` takes what is there and
   * changes no schema, and a SQLite file not at all before the first write. Redis has no schema: there every ledger exists.
   * Defaults to `"create"`.
   */
  readonly ledger?: "create" | "existing";
  /** How long opening may take, in milliseconds. Defaults to 5,000. */
  readonly timeoutMs?: number;
  /** `tablePrefix` of the SQL stores, `keyPrefix` of Redis. Defaults to theirs. */
  readonly prefix?: string;
  /** Whether users' own keys are kept beside their digests. Defaults to true. */
  readonly storeKeys?: boolean;
}

/** A ledger that was opened by its URL. */
export interface OpenedStore extends LedgerStore {
  readonly engine: StoreEngine;
  /** Creates or upgrades the schema. Absent where the engine has none. */
  migrate?(): Promise<void>;
}

const OPTIONS: OptionRules = {
  ledger: rules.oneOf("create", "existing"),
  timeoutMs: rules.durationMs,
  prefix: rules.custom("a string", (value) => typeof value === "string"),
  storeKeys: rules.flag,
};

/** No record has it: digests of 64 zeros don't come up. */
const NO_RECORD = "0".repeat(64);

/**
 * Opens the ledger of a URL, and looks into it once, so that what is wrong with it is known before anything relies on it:
 * `sqlite:FILE` (a path, relative to the working folder), `redis://…` and `rediss://…` (with the package `redis` or else
 * `ioredis`), `postgres://…` and `postgresql://…` (with the package `pg`), `memory:`. Whatever it opened, `close()` closes.
 *
 * @throws EvenkeelError `INVALID_OPTIONS` for another URL; `STORE_MISCONFIGURED` when there is no ledger, one of a newer
 *   format, a file that is none, or no driver; `STORE_UNAVAILABLE` when the engine can't be reached. No message holds the URL,
 *   which may carry a password.
 * @example
 * ```ts
 * const store = await openStore(process.env.LEDGER ?? "sqlite:ledger.db");
 * ```
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  acceptOptions("openStore", OPTIONS, options);
  const { timeoutMs = 5_000 } = options;
  const opened = await open(url, { ...options, timeoutMs });
  try {
    await opened.executions.get(NO_RECORD, { timeoutMs });
    return opened;
  } catch (error) {
    await opened.close();
    // There is no such record: what can't be read is the ledger.
    if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
    throw new EvenkeelError("STORE_MISCONFIGURED", "openStore: what is there is no ledger.", { cause: error });
  }
}

async function open(
  given: string,
  { ledger, prefix, storeKeys = true, timeoutMs }: OpenStoreOptions & { readonly timeoutMs: number },
) {
  const migrate = ledger !== "existing";
  const tables = { migrate, storeKeys, ...(prefix === undefined ? {} : { tablePrefix: prefix }) };
  const { engine, url, path } = acceptUrl(given);
  switch (engine) {
    case "memory":
      return { engine, ...memoryStore({ storeKeys }) };
    case "sqlite":
      // It would make an empty database of a path that was mistyped.
      if (!migrate && sqliteFile(path) === "missing")
        throw new EvenkeelError("STORE_MISCONFIGURED", `openStore: there is no file ${path}.`);
      return { engine, ...sqliteStore(path, tables) };
    case "postgres":
      return { engine, ...postgresStore(url, tables) };
    case "redis": {
      const { client, disconnect } = await connectRedis(url, timeoutMs);
      const store = redisStore(client, { storeKeys, ...(prefix === undefined ? {} : { keyPrefix: prefix }) });
      return {
        ...store,
        engine,
        async close() {
          await store.close();
          disconnect();
        },
      };
    }
  }
}
