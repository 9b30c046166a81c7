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
  /** The URL of an empty ledger that several processes can open; absent where none but its own can see it. */
  url?(): Promise<{ readonly url: string; release(): Promise<void> }>;
}

export const inMemory: Ledger = {
  name: "memory",
  async open() {
    const store = memoryStore();
    return { store, close: () => store.close() };
  },
};

export const inSqlite = sharedLedger("SQLite", async () => {
  const folder = temporaryFolder();
  return { url: `sqlite:${folder.file("ledger.db")}`, release: async () => folder.remove() };
});

export const inRedis = sharedLedger("Redis", async () => ({
  url: `${redisUrl()}#${randomUUID()}:`,
  release: async () => {},
}));

let database: Promise<string> | undefined;
let prefixes = 0;

export const inPostgres = sharedLedger("PostgreSQL", async () => {
  // One database for the tests of a file, and tables of its own for each.
  database ??= databaseUrl();
  prefixes += 1;
  return { url: `${await database}#t${prefixes}_`, release: async () => {} };
});

function sharedLedger(name: string, url: NonNullable<Ledger["url"]>): Ledger {
  return {
    name,
    url,
    async open() {
      const ledger = await url();
      const { store, close } = await openLedger(ledger.url);
      return {
        store,
        async close() {
          await close();
          await ledger.release();
        },
      };
    },
  };
}
