import { isBusy, misconfigured, prepare, readValue, type SqliteHandle } from "./sqlite-handle.ts";

/** Levels of `PRAGMA synchronous` (sqlite.org/pragma.html#pragma_synchronous). */
export const FULL = 2;
const NORMAL = 1;

/**
 * Sets what durability needs on a connection, and reads it back: a setting that did not take is an error.
 * @throws EvenkeelError `STORE_MISCONFIGURED`.
 */
export function makeDurable(handle: SqliteHandle, synchronous: "full" | "normal"): void {
  const isFile = fileOf(handle) !== "";
  const mode = readValue(handle, "PRAGMA journal_mode");
  if (isFile && mode !== "wal" && readValue(handle, "PRAGMA journal_mode = WAL") !== "wal") {
    throw misconfigured("journal_mode can't be WAL: keep the file on a local disk, and open it for writing.");
  }
  setSynchronous(handle, synchronous);
  if (isFile) warnOfOldVersion(String(readValue(handle, "SELECT sqlite_version()")));
}

/**
 * Sets the level also where it reads as set: a level that nobody has set on the connection falls to what the driver was
 * compiled for once the WAL is opened, which is NORMAL for better-sqlite3.
 *
 * @throws EvenkeelError `STORE_MISCONFIGURED` when it did not take.
 */
export function setSynchronous(handle: SqliteHandle, synchronous: "full" | "normal"): void {
  // What is more than FULL stays.
  const wanted = synchronous === "full" ? Math.max(synchronousLevel(handle), FULL) : NORMAL;
  handle.exec(`PRAGMA synchronous = ${wanted}`);
  // Opens the WAL, so that what is read back is what holds from now on.
  readValue(handle, "SELECT count(*) FROM sqlite_schema");
  if (synchronousLevel(handle) !== wanted) {
    throw misconfigured(`synchronous can't be set to ${synchronous.toUpperCase()}.`);
  }
}

export function synchronousLevel(handle: SqliteHandle): number {
  return Number(readValue(handle, "PRAGMA synchronous"));
}

/** The file behind a connection; empty for a database in memory, and for a connection that is closed. */
export function fileOf(handle: SqliteHandle): string {
  try {
    const databases = prepare(handle, "PRAGMA database_list").all() as { name: string; file: string | null }[];
    return databases.find(({ name }) => name === "main")?.file ?? "";
  } catch (error) {
    if (isBusy(error)) throw error;
    return "";
  }
}

let warned = false;

/** sqlite.org/wal.html, "The WAL-Reset Bug": two writers can corrupt a database before 3.51.3. */
function warnOfOldVersion(version: string): void {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  const isOld = major < 3 || (major === 3 && (minor < 51 || (minor === 51 && patch < 3)));
  if (!isOld || warned) return;
  warned = true;
  process.emitWarning(
    `SQLite ${version} has a WAL-reset bug that can corrupt a database with several writers: use 3.51.3 or later.`,
    { code: "EVENKEEL_OLD_SQLITE" },
  );
}
