import { accessSync, constants, existsSync, statfsSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { setSynchronous } from "../stores/sqlite-durability.ts";
import { openSqlite, prepare, readValue, type SqliteHandle } from "../stores/sqlite-handle.ts";
import { SOUND_LEASE } from "../stores/sqlite-leases.ts";
import { READABLE } from "../stores/sqlite-rows.ts";
import { DEFAULT_TABLE_PREFIX, migrateSchema, tablesOf } from "../stores/sqlite-schema.ts";
import { type Check, type Examination, examine, FINE, found, type Verdict } from "./doctor-check.ts";
import { kindOfFileSystem } from "./doctor-file-systems.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { MOST_IDS, unreadableLeasesVerdict, unreadableVerdict } from "./doctor-unreadable.ts";
import { shellWord } from "./shell-word.ts";

interface SqliteSubject {
  readonly handle: SqliteHandle;
  readonly file: string;
  readonly prefix: string;
  readonly limits: DoctorLimits;
}

export interface SqliteExaminationOptions {
  readonly prefix?: string | undefined;
  readonly limits: DoctorLimits;
  readonly signal?: AbortSignal | undefined;
}

/** Looks at the file of a ledger, its settings and the disk under it; changes nothing. */
export async function examineSqlite(file: string, options: SqliteExaminationOptions): Promise<Examination> {
  const handle = await openSqlite(file);
  try {
    handle.exec("PRAGMA busy_timeout = 50");
    const { limits, prefix = DEFAULT_TABLE_PREFIX } = options;
    return await examine({ handle, file, prefix, limits }, CHECKS, options.signal);
  } finally {
    handle.close();
  }
}

/** In this order: the last one opens the log as a store would. */
const CHECKS: readonly Check<SqliteSubject>[] = [
  { id: "sqlite-integrity", look: integrity },
  { id: "sqlite-journal-mode", look: journalMode },
  { id: "sqlite-version", look: version },
  { id: "sqlite-indexes", look: indexes },
  { id: "sqlite-wal-size", look: walSize },
  { id: "sqlite-file-system", look: fileSystem },
  { id: "sqlite-disk-space", look: diskSpace },
  { id: "sqlite-permissions", look: permissions },
  { id: "sqlite-read-only", look: readOnly },
  { id: "sqlite-synchronous", look: synchronous },
  { id: "executions-unreadable", look: unreadable },
  { id: "leases-unreadable", look: unreadableLeases },
];

function integrity({ handle, file }: SqliteSubject): Verdict {
  const problems = prepare(handle, "PRAGMA quick_check(5)").all() as Record<string, unknown>[];
  const texts = problems.map((row) => String(Object.values(row)[0]));
  if (texts.length === 1 && texts[0] === "ok") return FINE;
  return found(
    "error",
    `the file is damaged: ${texts.join("; ")}`,
    `stop every process that uses the file, keep a copy of it and its -wal, and restore a backup, or recover what can be read with \`sqlite3 ${shellWord(file)} .recover\``,
  );
}

function journalMode({ handle }: SqliteSubject): Verdict {
  const mode = String(readValue(handle, "PRAGMA journal_mode"));
  if (mode === "wal") return FINE;
  return found(
    "warning",
    `journal_mode is ${mode}: readers and writers stop each other, until a process writes to the ledger, which sets WAL`,
    "run `PRAGMA journal_mode = WAL` on the file, and find out which program sets it to something else",
  );
}

/** sqlite.org/wal.html, "The WAL-Reset Bug". */
function version({ handle }: SqliteSubject): Verdict {
  const text = String(readValue(handle, "SELECT sqlite_version()"));
  const [major = 0, minor = 0, patch = 0] = text.split(".").map(Number);
  if (major * 1e6 + minor * 1e3 + patch >= 3_051_003) return FINE;
  return found(
    "warning",
    `the SQLite of this command is ${text}: before 3.51.3 two writers can damage a file when its log begins anew`,
    "install a better-sqlite3 or a Node that has SQLite 3.51.3 or later, here and where your processes run",
  );
}

/** Against a ledger that is made this moment, so that nothing has to be listed twice. */
async function indexes({ handle, prefix }: SqliteSubject): Promise<Verdict> {
  const fresh = await openSqlite(":memory:");
  try {
    migrateSchema(fresh, tablesOf(prefix));
    const names = new Set(objectsOf(handle).map(({ name }) => name));
    if (!names.has(`${prefix}schema`)) return { unknown: `there is no ledger with the prefix ${prefix}` };
    return objectsOf(fresh)
      .filter(({ name }) => !names.has(name))
      .map(({ type, name, sql }) => ({
        severity: type === "index" ? "warning" : "error",
        what: `the ${type} ${name} is missing`,
        change: type === "index" ? `run \`${sql}\`` : "restore the file from a backup",
        subject: name,
      }));
  } finally {
    fresh.close();
  }
}

function objectsOf(handle: SqliteHandle): { type: string; name: string; sql: string }[] {
  const sql = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
  return prepare(handle, sql).all() as { type: string; name: string; sql: string }[];
}

function walSize({ file, limits }: SqliteSubject): Verdict {
  const size = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= limits.walBytes) return FINE;
  return found(
    "warning",
    `the log beside the file has ${mebibytes(size)}: somebody reads in one long transaction, and keeps it from being taken into the file`,
    "end the long reader, such as a backup or a shell with an open transaction; then `PRAGMA wal_checkpoint(TRUNCATE)`",
  );
}

function fileSystem({ file }: SqliteSubject): Verdict {
  if (process.platform !== "linux") return { unknown: "this platform does not tell what the file lies on" };
  const kind = kindOfFileSystem(statfsSync(file).type);
  switch (kind.kind) {
    case "local":
      return FINE;
    case "network":
      return found(
        "error",
        `the file lies on a network file system (${kind.name}), where its locks don't hold and its log is damaged`,
        "keep the file on a local disk, or keep the ledger in PostgreSQL or Redis",
      );
    case "volatile":
      return found(
        "warning",
        `the file lies in memory (${kind.name}): it is gone when the machine starts anew`,
        "keep the file on a disk",
      );
    case "layer":
      return found(
        "hint",
        `the file lies on a container's own layer (${kind.name}): it is gone with the container`,
        "keep the file on a volume",
      );
    case "unknown":
      return { unknown: `file systems of the type 0x${kind.type.toString(16)} may be local or not` };
  }
}

function diskSpace({ file, limits }: SqliteSubject): Verdict {
  const { bavail, bsize } = statfsSync(file);
  const free = bavail * bsize;
  if (free >= limits.freeDiskBytes) return FINE;
  return found(
    free < limits.freeDiskBytes / 10 ? "error" : "warning",
    `${mebibytes(free)} are free on the ledger's disk: once it is full nothing runs any more`,
    "make room on the disk; `evenkeel purge` lets the file reuse what expired records take",
  );
}

function permissions({ file }: SqliteSubject): Verdict {
  if (process.platform === "win32") return { unknown: "this platform has no such permissions" };
  const files = [file, `${file}-wal`, `${file}-shm`];
  const modes = files.map((path) => statSync(path, { throwIfNoEntry: false })?.mode ?? 0);
  const folder = statSync(dirname(file)).mode;
  const isSticky = (folder & 0o1000) !== 0;
  if (modes.some((mode) => (mode & 0o002) !== 0) || ((folder & 0o002) !== 0 && !isSticky)) {
    return found(
      "warning",
      "everybody on this machine can write to the ledger, or replace it",
      `run \`chmod o-rwx ${shellWord(file)}*\`, and keep it in a folder that others can't write to`,
    );
  }
  if (modes.some((mode) => (mode & 0o004) !== 0) && (folder & 0o001) !== 0) {
    return found(
      "hint",
      "everybody on this machine can read the ledger: keys and outcomes",
      `run \`chmod o-r ${shellWord(file)}*\`, if others have accounts there`,
    );
  }
  return FINE;
}

/** Beside the file SQLite makes its log, and whoever made that last may have been somebody else. */
function readOnly({ file }: SqliteSubject): Verdict {
  const closed = [dirname(file), file, `${file}-wal`, `${file}-shm`].filter(
    (path) => existsSync(path) && !isOpen(path),
  );
  if (closed.length === 0) return FINE;
  return found(
    "error",
    `this user can't write to ${closed.map((path) => basename(path)).join(", ")}: every claim of a process that runs as it fails`,
    "ask as the user that your processes run as; where it is that one, give it the file, what lies beside it and the folder: `chown`, or mount the disk for writing",
  );
}

function isOpen(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function unreadable({ handle, prefix }: SqliteSubject): Verdict {
  const from = `FROM ${tablesOf(prefix).executions} WHERE NOT coalesce(${READABLE}, 0) ORDER BY id LIMIT ${MOST_IDS}`;
  const rows = prepare(handle, `SELECT id ${from}`).all() as { id: unknown }[];
  return unreadableVerdict(rows.map(({ id }) => String(id)));
}

function unreadableLeases({ handle, prefix }: SqliteSubject): Verdict {
  const { leases } = tablesOf(prefix);
  const rows = prepare(
    handle,
    `SELECT name FROM ${leases} WHERE NOT (${SOUND_LEASE}) ORDER BY name LIMIT ${MOST_IDS}`,
  ).all();
  return unreadableLeasesVerdict(
    (rows as { name: unknown }[]).map(({ name }) => String(name)),
    `the table ${leases}`,
  );
}

/** What a store opens with `synchronous: "full"`, as it is by default, is on the disk when it is told. */
function synchronous({ handle }: SqliteSubject): Verdict {
  setSynchronous(handle, "full");
  return FINE;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0)} MiB`;
}
