import { isInTransaction, misconfigured, readValue, type SqliteHandle } from "./sqlite-handle.ts";

/** The schema that this version reads and writes. */
const VERSION = 1;

/** What the names of tables begin with, unless it is said otherwise. */
export const DEFAULT_TABLE_PREFIX = "evenkeel_";

/** The names of the tables of one ledger. */
export interface SqliteTables {
  readonly schema: string;
  readonly fencing: string;
  readonly executions: string;
  readonly steps: string;
  readonly groups: string;
  readonly resources: string;
  readonly fences: string;
  readonly leases: string;
}

/** @throws EvenkeelError `STORE_MISCONFIGURED` for a prefix that would need quoting. */
export function tablesOf(prefix: string): SqliteTables {
  if (!/^[a-z_][a-z0-9_]{0,40}$/.test(prefix) || prefix.startsWith("sqlite_")) {
    throw misconfigured(
      "tablePrefix must match ^[a-z_][a-z0-9_]{0,40}$: choose lower-case letters, digits and underscores, and not sqlite_.",
    );
  }
  return {
    schema: `"${prefix}schema"`,
    fencing: `"${prefix}fencing"`,
    executions: `"${prefix}executions"`,
    steps: `"${prefix}steps"`,
    groups: `"${prefix}groups"`,
    resources: `"${prefix}resources"`,
    fences: `"${prefix}fences"`,
    leases: `"${prefix}leases"`,
  };
}

/**
 * Creates or upgrades the schema. One `BEGIN IMMEDIATE` around all of it, so that of many processes one does the work and
 * the others find it done.
 *
 * The fencing counter has a table of its own, because a counter in a row that is deleted would begin again.
 */
export function migrateSchema(handle: SqliteHandle, tables: SqliteTables): void {
  if (schemaVersion(handle, tables) === VERSION) return;
  handle.exec("BEGIN IMMEDIATE");
  try {
    if (schemaVersion(handle, tables) === 0) {
      handle.exec(`
        CREATE TABLE ${tables.schema} (version INTEGER NOT NULL);
        INSERT INTO ${tables.schema} VALUES (${VERSION});
        CREATE TABLE ${tables.fencing} (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), last_token INTEGER NOT NULL);
        INSERT INTO ${tables.fencing} VALUES (1, 0);
        CREATE TABLE ${tables.executions} (
          id TEXT PRIMARY KEY NOT NULL,
          format INTEGER NOT NULL,
          operation TEXT NOT NULL,
          scope TEXT NOT NULL,
          key TEXT,
          fingerprint TEXT,
          attempt INTEGER NOT NULL,
          token INTEGER NOT NULL,
          nonce TEXT NOT NULL,
          created_at INTEGER NOT NULL,
          retention_ms INTEGER NOT NULL,
          expires_at INTEGER NOT NULL,
          status TEXT NOT NULL,
          lease_expires_at INTEGER,
          retry_granted INTEGER,
          abandoned_at INTEGER,
          completed_at INTEGER,
          outcome_kind TEXT,
          outcome BLOB
        );
        CREATE INDEX ${indexOf(tables.executions, "by_expiry")} ON ${tables.executions} (expires_at);
        CREATE INDEX ${indexOf(tables.executions, "by_creation")} ON ${tables.executions} (created_at);
        CREATE INDEX ${indexOf(tables.executions, "running")} ON ${tables.executions} (id) WHERE status = 'running';
        CREATE TABLE ${tables.steps} (
          id TEXT NOT NULL,
          position INTEGER NOT NULL,
          name TEXT NOT NULL,
          outcome_kind TEXT NOT NULL,
          outcome BLOB,
          PRIMARY KEY (id, position)
        );
        CREATE TABLE ${tables.groups} (
          name TEXT PRIMARY KEY NOT NULL,
          format INTEGER NOT NULL,
          mark TEXT NOT NULL,
          epoch INTEGER NOT NULL,
          generation INTEGER NOT NULL,
          desired TEXT,
          desired_nonce TEXT,
          status TEXT,
          sequence INTEGER NOT NULL,
          floor INTEGER NOT NULL
        );
        CREATE TABLE ${tables.resources} (
          group_name TEXT NOT NULL,
          id TEXT NOT NULL,
          incarnation INTEGER NOT NULL,
          format INTEGER NOT NULL,
          state TEXT NOT NULL,
          generation INTEGER NOT NULL,
          attempt INTEGER NOT NULL,
          fencing_token INTEGER NOT NULL,
          created_at INTEGER NOT NULL,
          state_changed_at INTEGER NOT NULL,
          provisioned_at INTEGER,
          last_heartbeat_at INTEGER,
          silent_since INTEGER,
          lease_expires_at INTEGER,
          version INTEGER NOT NULL,
          nonce TEXT NOT NULL,
          sequence INTEGER NOT NULL,
          external_id TEXT,
          reason TEXT,
          spec TEXT,
          PRIMARY KEY (group_name, id, incarnation)
        );
        CREATE UNIQUE INDEX ${indexOf(tables.resources, "by_change")} ON ${tables.resources} (group_name, sequence);
        CREATE INDEX ${indexOf(tables.resources, "by_silence")} ON ${tables.resources} (group_name, silent_since)
          WHERE silent_since IS NOT NULL;
        CREATE INDEX ${indexOf(tables.resources, "terminated")} ON ${tables.resources} (group_name, state_changed_at)
          WHERE state = 'TERMINATED';
        CREATE TABLE ${tables.fences} (
          group_name TEXT NOT NULL,
          name TEXT NOT NULL,
          epoch INTEGER NOT NULL,
          PRIMARY KEY (group_name, name)
        );
        CREATE TABLE ${tables.leases} (
          name TEXT PRIMARY KEY NOT NULL,
          holder TEXT NOT NULL,
          nonce TEXT NOT NULL,
          epoch INTEGER NOT NULL,
          renewals INTEGER NOT NULL,
          duration_ms INTEGER NOT NULL,
          expires_at INTEGER NOT NULL
        );
        CREATE INDEX ${indexOf(tables.leases, "by_expiry")} ON ${tables.leases} (expires_at);
      `);
    }
    handle.exec("COMMIT");
  } catch (error) {
    if (isInTransaction(handle)) handle.exec("ROLLBACK");
    throw error;
  }
}

/** @throws EvenkeelError `STORE_MISCONFIGURED` unless the schema is there and of this version. */
export function assertSchema(handle: SqliteHandle, tables: SqliteTables): void {
  if (schemaVersion(handle, tables) === 0) {
    throw misconfigured("the database holds no ledger: call migrate() first, or leave `migrate` out.");
  }
}

function schemaVersion(handle: SqliteHandle, tables: SqliteTables): number {
  const name = tables.schema.replaceAll('"', "'");
  if (readValue(handle, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ${name}`) === 0) return 0;
  const version = readValue(handle, `SELECT max(version) FROM ${tables.schema}`);
  if (version === VERSION) return VERSION;
  if (typeof version === "number" && version > VERSION) {
    throw misconfigured(`the ledger has schema ${version}, which is newer than ${VERSION}: upgrade evenkeel.`);
  }
  throw misconfigured("the ledger's schema table holds no version: restore the database from a backup.");
}

function indexOf(table: string, name: string): string {
  return `${table.slice(0, -1)}_${name}"`;
}
