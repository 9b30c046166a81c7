import { randomUUID } from "node:crypto";
import { memoryStore } from "../../../../adapters/stores/memory.ts";
import type { LedgerStore } from "../../../../src/index.ts";
import { databaseUrl, redisUrl } from "../../../support/engines.ts";
import { openLedger } from "../../../support/open-ledger.ts";
import { temporaryFolder } from "../../../support/sqlite-files.ts";

/** Where the services of a suite keep their records: an empty ledger each. */
export interface Ledger {
  readonly name: string;
  open(): Promise<{ readonly store: LedgerStore; close(): Promise<void> }>;
}

export const inMemory: Ledger = {
  name: "memory",
  async open() {
    const store = memoryStore();
    return { store, close: () => store.close() };
  },
};

export const inSqlite: Ledger = {
  name: "SQLite",
  async open() {
    const folder = temporaryFolder();
    const { store, close } = await openLedger(`sqlite:${folder.file("ledger.db")}`);
    return {
      store,
      async close() {
        await close();
        folder.remove();
      },
    };
  },
};

export const inRedis: Ledger = {
  name: "Redis",
  open: () => openLedger(`${redisUrl()}#${randomUUID()}:`),
};

let database: Promise<string> | undefined;
let prefixes = 0;

export const inPostgres: Ledger = {
  name: "PostgreSQL",
  async open() {
    // One database for the tests of a file, and tables of its own for each.
    database ??= databaseUrl();
    prefixes += 1;
    return openLedger(`${await database}#t${prefixes}_`);
  },
};
