import { type SqliteHandle, type SqliteStore, sqliteStore } from "../../adapters/stores/sqlite.ts";
import {
  type ConformanceSubject,
  ManualClock,
  type RecordDamage,
  type RecordName,
  type StoreCapabilities,
} from "../../src/testing/index.ts";
import { temporaryFolder } from "./sqlite-files.ts";

/** What the conformance suite may ask of SQLite. */
export const SQLITE_CAPABILITIES: StoreCapabilities = {
  exactTime: true,
  watch: true,
  // Each grant of a claim deletes a few expired records, so purge() can't count them all.
  purge: false,
  hooks: ["reopen", "transact", "stall"],
  damages: {
    ledger: ["newerFormat"],
    executions: ["newerFormat", "missingField", "wrongType"],
    leases: ["wrongType"],
    resources: ["newerFormat", "wrongType"],
    fences: ["wrongType"],
  },
};

/** An empty ledger in a file of its own, with all that the suite can use. */
export async function sqliteSubject(open: (path: string) => SqliteHandle): Promise<ConformanceSubject> {
  const folder = temporaryFolder();
  const clock = new ManualClock(Date.now());
  const handles: SqliteHandle[] = [];
  const connect = (): SqliteHandle => {
    const handle = open(folder.file("ledger.db"));
    handles.push(handle);
    return handle;
  };
  const handle = connect();
  const stores: SqliteStore[] = [];
  const reopen = async (on = connect()): Promise<SqliteStore> => {
    const store = sqliteStore(on, { clock });
    stores.push(store);
    return store;
  };
  return {
    store: await reopen(handle),
    advance: (ms) => clock.advance(ms),
    reopen: () => reopen(),
    corrupt: async (record, damage) => corrupt(connect(), record, damage),
    async transact(work, end) {
      handle.exec("BEGIN IMMEDIATE");
      try {
        await work(handle);
      } catch (error) {
        handle.exec("ROLLBACK");
        throw error;
      }
      handle.exec(end === "commit" ? "COMMIT" : "ROLLBACK");
    },
    async stall() {
      const locking = connect();
      locking.exec("BEGIN IMMEDIATE");
      return async () => {
        locking.exec("COMMIT");
      };
    },
    async dispose() {
      for (const store of stores) await store.close();
      for (const opened of handles) opened.close();
      folder.remove();
    },
  };
}

function corrupt(on: SqliteHandle, record: RecordName, damage: RecordDamage) {
  const [table, where, id] = placeOf(record);
  on.prepare(`UPDATE evenkeel_${table} SET ${changeOf(record, damage)} WHERE ${where}`).run(...id);
  return { raw: async () => on.prepare(`SELECT * FROM evenkeel_${table} WHERE ${where}`).all(...id) };
}

function placeOf(record: RecordName): [table: string, where: string, id: string[]] {
  switch (record.part) {
    case "executions":
      return ["executions", "id = ?", [record.id]];
    case "leases":
      return ["leases", "name = ?", [record.name]];
    case "ledger":
      return ["schema", "true", []];
    case "resources":
      return ["resources", "group_name = ? AND id = ?", [record.group, record.id]];
    case "fences":
      return ["fences", "group_name = ? AND name = ?", [record.group, record.name]];
  }
}

function changeOf({ part }: RecordName, damage: RecordDamage): string {
  if (part === "ledger") return "version = 99";
  if (part === "leases" || part === "fences") return "epoch = 'two'";
  switch (damage) {
    case "newerFormat":
      return "format = 2";
    case "missingField":
      return "lease_expires_at = NULL, completed_at = NULL";
    case "wrongType":
      return "attempt = 'two'";
    default:
      throw new Error(`SQLite's rows can't be ${damage}`);
  }
}
