import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { SqliteHandle } from "../../adapters/stores/sqlite.ts";

/** The drivers that this Node can load: node:sqlite from 22.13, better-sqlite3 where it was compiled for it. */
export const drivers: readonly { readonly name: string; open(path: string): SqliteHandle }[] = [
  ...loadNodeSqlite(),
  ...loadBetterSqlite3(),
];

/** Opens a file with the first driver there is. */
export function openDatabase(path: string): SqliteHandle {
  const [driver] = drivers;
  if (driver === undefined) throw new Error("no SQLite driver can be loaded");
  return driver.open(path);
}

/** A folder of its own for the files of one test. */
export function temporaryFolder(): { readonly file: (name: string) => string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  return {
    file: (name) => join(folder, name),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A folder for each test of a file that asks for one, and connections to its `ledger.db` that are closed after the test. */
export function useTemporaryFolder(): {
  readonly folder: { file(name: string): string };
  database(): SqliteHandle;
} {
  let current: ReturnType<typeof temporaryFolder> | undefined;
  const open: SqliteHandle[] = [];
  afterEach(() => {
    for (const handle of open.splice(0)) handle.close();
    current?.remove();
    current = undefined;
  });
  // Made when it is asked for: of tests that run beside each other, those that need none would leave theirs behind.
  const file = (name: string): string => {
    current ??= temporaryFolder();
    return current.file(name);
  };
  return {
    folder: { file },
    database() {
      const handle = openDatabase(file("ledger.db"));
      open.push(handle);
      return handle;
    },
  };
}

function loadNodeSqlite() {
  const sqlite = process.getBuiltinModule?.("node:sqlite") as
    | { DatabaseSync: new (path: string) => SqliteHandle }
    | undefined;
  return sqlite === undefined ? [] : [{ name: "node:sqlite", open: (path: string) => new sqlite.DatabaseSync(path) }];
}

function loadBetterSqlite3() {
  try {
    const Database = createRequire(import.meta.url)("better-sqlite3") as new (path: string) => SqliteHandle;
    new Database(":memory:").close();
    return [{ name: "better-sqlite3", open: (path: string) => new Database(path) }];
  } catch {
    return [];
  }
}
