import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import pg from "pg";
import { memoryStore } from "../../../../adapters/stores/memory.ts";
import type { LedgerStore } from "../../../../src/index.ts";
import { emptying } from "../../../support/emptying.ts";
import { databaseUrl, redisUrl } from "../../../support/engines.ts";
import { memoryFolder } from "../../../support/memory-folder.ts";
import { openLedger } from "../../../support/open-ledger.ts";

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
  const folder = memoryFolder();
  const file = folder.file("ledger.db");
  newSqlite ??= makeSqlite();
  writeFileSync(file, await newSqlite);
  return { url: `sqlite:${file}`, release: async () => folder.remove() };
});

export const inRedis = sharedLedger("Redis", async () => ({
  url: `${redisUrl()}#${randomUUID()}:`,
  release: async () => {},
}));

export const inPostgres = sharedLedger("PostgreSQL", async () => {
  // One database for the tests of a file. A ledger is emptied and used again, since making it takes longer than most tests do.
  database ??= databaseUrl();
  const connectionString = await database;
  const prefix = emptyPrefixes.pop() ?? `t${++prefixes}_`;
  return {
    url: `${connectionString}#${prefix}`,
    async release() {
      const client = new pg.Client({ connectionString });
      await client.connect();
      await client.query(emptying(prefix)).finally(() => client.end());
      emptyPrefixes.push(prefix);
    },
  };
});

let newSqlite: Promise<Uint8Array> | undefined;
let database: Promise<string> | undefined;
const emptyPrefixes: string[] = [];
let prefixes = 0;

/** The file of an empty ledger. A copy of it is there at once, while making one waits for the disk several times. */
async function makeSqlite(): Promise<Uint8Array> {
  const folder = memoryFolder();
  try {
    const file = folder.file("ledger.db");
    const { store, close } = await openLedger(`sqlite:${file}`);
    await store.executions.get("0".repeat(64), { timeoutMs: 30_000 });
    await close();
    return readFileSync(file);
  } finally {
    folder.remove();
  }
}

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
