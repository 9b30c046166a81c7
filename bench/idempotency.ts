import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { type LedgerStore, withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type SqliteHandle, sqliteStore } from "evenkeel/sqlite";
import { measure } from "mitata";

/** How long each line is measured. */
const MEASURED_NS = Number(process.env["BENCH_MS"] ?? 2_000) * 1e6;
const AT_ONCE = [1, 64];

/** One line of the table; of `atOnce` calls at the same time. */
interface Line {
  readonly engine: string;
  readonly call: string;
  readonly what: string;
  readonly atOnce: number;
  readonly microsecondsPerCall: number;
}

/** What is measured: calls that are all new, and calls that are all the same. */
interface Subject {
  readonly engine: string;
  readonly what: string;
  firstCall(): unknown;
  replay(): unknown;
}

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

async function measured(subject: Subject, call: "firstCall" | "replay", atOnce: number): Promise<Line> {
  const once = (): unknown => subject[call]();
  const together = (): unknown => Promise.all(Array.from({ length: atOnce }, once));
  const stats = await measure(atOnce === 1 ? once : together, { min_cpu_time: MEASURED_NS });
  const { engine, what } = subject;
  const microsecondsPerCall = stats.avg / 1e3 / atOnce;
  return { engine, call: call === "replay" ? "replay" : "first call", what, atOnce, microsecondsPerCall };
}

/** Beside one another: what does the same on the same engine. */
function orderOf({ engine, call, atOnce, what }: Line): number {
  const bits = [engine !== "memory", call === "replay", atOnce !== 1, !what.startsWith("raw")];
  return bits.reduce((order, bit) => order * 2 + Number(bit), 0);
}

function print(lines: readonly Line[]): void {
  console.log("| engine | call | at once | what | µs a call | calls a second | against raw |");
  console.log("|---|---|--:|---|--:|--:|--:|");
  for (const { engine, call, atOnce, what, microsecondsPerCall } of lines) {
    const raw = lines.find((line) => {
      return line.engine === engine && line.call === call && line.atOnce === atOnce && line.what.startsWith("raw");
    });
    const ratio = (raw?.microsecondsPerCall ?? Number.NaN) / microsecondsPerCall;
    const cells = [
      ...[engine, call, atOnce, what],
      ...[microsecondsPerCall.toFixed(2), Math.round(1e6 / microsecondsPerCall).toLocaleString("en-US")],
      `${ratio.toPrecision(2)} x`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

try {
  const stores = [memoryStore({ maxEntries: 10_000_000 }), sqliteStore(join(folder, "ledger.db"))];
  const [memory, sqlite] = stores as [LedgerStore, LedgerStore];
  const subjects = [rawMap(), evenkeelOn("memory", memory), rawSqlite(), evenkeelOn("SQLite FULL", sqlite)];
  console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model.trim()}\n`);
  const lines: Line[] = [];
  for (const subject of subjects) {
    await subject.replay();
    for (const call of ["firstCall", "replay"] as const) {
      for (const atOnce of AT_ONCE) lines.push(await measured(subject, call, atOnce));
    }
  }
  print(lines.toSorted((a, b) => orderOf(a) - orderOf(b)));
  await Promise.all(stores.map((store) => store.close()));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
