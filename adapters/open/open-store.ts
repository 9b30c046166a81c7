import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import type { LedgerStore } from "../../src/store.ts";
import { memoryStore } from "../stores/memory.ts";
import { postgresStore } from "../stores/postgres.ts";
import { redisStore } from "../stores/redis.ts";
import { sqliteStore } from "../stores/sqlite.ts";
import { connectRedis } from "./redis-client.ts";

/** Which engine a ledger is in. */
export type StoreEngine = "memory" | "sqlite" | "redis" | "postgres";

export interface OpenStoreOptions {
  /**
   * `"create"` makes the ledger where there is none, and upgrades an older one; `"existing"` takes what is there and
   * changes no schema. Redis has no schema: there every ledger exists. Defaults to `"create"`.
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
  const opened = await open(url, options);
  try {
    await opened.executions.get(NO_RECORD, { timeoutMs: options.timeoutMs ?? 5_000 });
    return opened;
  } catch (error) {
    await opened.close();
    // There is no such record: what can't be read is the ledger.
    if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
    throw new EvenkeelError("STORE_MISCONFIGURED", "openStore: what is there is no ledger.", { cause: error });
  }
}

async function open(url: string, { ledger, prefix, storeKeys = true, timeoutMs = 5_000 }: OpenStoreOptions) {
  const migrate = ledger !== "existing";
  const tables = { migrate, storeKeys, ...(prefix === undefined ? {} : { tablePrefix: prefix }) };
  const { engine, path } = acceptUrl(url);
  switch (engine) {
    case "memory":
      return { engine, ...memoryStore({ storeKeys }) };
    case "sqlite":
      if (!migrate) assertFile(path);
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

/** SQLite would make an empty database of a path that was mistyped. */
function assertFile(path: string): void {
  if (path.startsWith(":") || path.startsWith("file:") || existsSync(resolve(path))) return;
  throw new EvenkeelError("STORE_MISCONFIGURED", `openStore: there is no file ${path}.`);
}

/**
 * Which engine a URL names, and the path behind `sqlite:`.
 * @throws EvenkeelError `INVALID_OPTIONS` for another URL, with no more of it than its scheme.
 */
export function acceptUrl(url: string): { readonly engine: StoreEngine; readonly path: string } {
  const [, scheme = "", path = ""] = (typeof url === "string" && /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url)) || [];
  switch (scheme.toLowerCase()) {
    case "memory":
      if (path === "") return { engine: "memory", path };
      break;
    case "sqlite": {
      const file = path.startsWith("///") ? path.slice(2) : path.replace(/^\/\//, "");
      if (file !== "") return { engine: "sqlite", path: file };
      break;
    }
    case "redis":
    case "rediss":
      if (path.startsWith("//")) return { engine: "redis", path };
      break;
    case "postgres":
    case "postgresql":
      if (path.startsWith("//")) return { engine: "postgres", path };
      break;
  }
  const found = scheme === "" ? "a URL without a scheme" : `a URL of the scheme ${scheme}:`;
  throw invalidOptions(
    "openStore",
    `${found} names no ledger; say sqlite:FILE, redis://HOST, postgres://HOST/DATABASE or memory:`,
  );
}
