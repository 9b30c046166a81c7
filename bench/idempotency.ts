import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LedgerStore, withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type SqliteHandle, sqliteStore } from "evenkeel/sqlite";
import { printLines, type Subject } from "./lines.ts";

const Database = createRequire(import.meta.url)("better-sqlite3") as new (path: string) => SqliteHandle;
const folder = mkdtempSync(join(tmpdir(), "evenkeel-bench-"));
const input = { account: "alice", amount: 1_000 };
const receipt = { id: "ch_1", amount: 1_000, currency: "EUR", lines: ["one", "two"] };
let calls = 0;

function evenkeelOn(engine: string, store: LedgerStore): Subject {
  const charge = withIdempotency(() => receipt, { store, operation: "charge" });
  return {
    engine,
    what: "evenkeel",
    firstCall: () => charge(input, { key: `key-${++calls}` }),
    replay: () => charge(input, { key: "known" }),
  };
}

function rawMap(): Subject {
  const map = new Map<string, unknown>([["known", receipt]]);
  return {
    engine: "memory",
    what: "raw Map",
    async firstCall() {
      const key = `key-${++calls}`;
      if (!map.has(key)) map.set(key, receipt);
      return map.get(key);
    },
    replay: async () => map.get("known"),
  };
}

/** What somebody would write who needs no lease, no fingerprint and no second process: one row, two autocommits. */
function rawSqlite(): Subject {
  const db = new Database(join(folder, "raw.db"));
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  db.exec("CREATE TABLE raw (id TEXT PRIMARY KEY NOT NULL, outcome BLOB)");
  const insert = db.prepare("INSERT INTO raw (id) VALUES (?) ON CONFLICT DO NOTHING");
  const update = db.prepare("UPDATE raw SET outcome = ? WHERE id = ?");
  const select = db.prepare("SELECT outcome FROM raw WHERE id = ?");
  const record = (key: string): unknown => {
    insert.run(key);
    return update.run(Buffer.from(JSON.stringify(receipt)), key);
  };
  record("known");
  return {
    engine: "SQLite FULL",
    what: "raw better-sqlite3",
    firstCall: async () => record(`key-${++calls}`),
    async replay() {
      const row = select.get("known") as { outcome: Buffer };
      return JSON.parse(row.outcome.toString());
    },
  };
}

try {
  const stores = [memoryStore({ maxEntries: 10_000_000 }), sqliteStore(join(folder, "ledger.db"))];
  const [memory, sqlite] = stores as [LedgerStore, LedgerStore];
  const subjects = [rawMap(), evenkeelOn("memory", memory), rawSqlite(), evenkeelOn("SQLite FULL", sqlite)];
  await printLines(subjects);
  await Promise.all(stores.map((store) => store.close()));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
