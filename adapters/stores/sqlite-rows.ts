import { type ExecutionRecord, recordCorrupt } from "../../src/execution-record.ts";
import type { OutcomeKind, StepRecord, StoredOutcome } from "../../src/store.ts";
import type { SqliteValue } from "./sqlite-handle.ts";

/** The layout of a row of executions. A row of another one is `RECORD_CORRUPT`. */
const FORMAT = 1;

/** The columns of a row of executions, in the order of {@link rowOf}. */
export const COLUMNS = [
  "id",
  "format",
  "operation",
  "scope",
  "key",
  "fingerprint",
  "attempt",
  "token",
  "nonce",
  "created_at",
  "retention_ms",
  "expires_at",
  "status",
  "lease_expires_at",
  "retry_granted",
  "abandoned_at",
  "completed_at",
  "outcome_kind",
  "outcome",
] as const;

export function rowOf(record: ExecutionRecord): SqliteValue[] {
  const { state } = record;
  const running = state.status === "running" ? state : undefined;
  const completed = state.status === "completed" ? state : undefined;
  return [
    record.id,
    FORMAT,
    record.operation,
    record.scope,
    record.key ?? null,
    record.fingerprint ?? null,
    record.attempt,
    record.token,
    record.nonce,
    record.createdAt,
    record.retentionMs,
    record.expiresAt,
    state.status,
    running?.leaseExpiresAt ?? null,
    running === undefined ? null : Number(running.retryGranted),
    running?.abandonedAt ?? null,
    completed?.completedAt ?? null,
    completed?.outcome.kind ?? null,
    completed === undefined ? null : bindable(completed.outcome.bytes),
  ];
}

/** What {@link recordOf} understands, for statements that must leave everything else alone. */
export const READABLE = `format = ${FORMAT} AND
  typeof(operation) || typeof(scope) || typeof(nonce) = 'texttexttext' AND
  typeof(expires_at) || typeof(created_at) || typeof(retention_ms) = 'integerintegerinteger' AND
  typeof(attempt) || typeof(token) = 'integerinteger' AND attempt > 0 AND token > 0 AND
  (status = 'running' AND typeof(lease_expires_at) || typeof(retry_granted) = 'integerinteger' OR
   status = 'completed' AND typeof(completed_at) = 'integer' AND
   outcome_kind IN ('value', 'error', 'tombstone') AND typeof(outcome) IN ('blob', 'null'))`;

/** @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write. */
export function recordOf(row: unknown): ExecutionRecord {
  const columns = row as Record<string, unknown>;
  if (columns["format"] !== FORMAT) throw recordCorrupt("it has an unknown format");
  const key = optional(text, columns, "key");
  const fingerprint = optional(text, columns, "fingerprint");
  return {
    id: text(columns, "id"),
    operation: text(columns, "operation"),
    scope: text(columns, "scope"),
    ...(key === undefined ? {} : { key }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    attempt: positive(columns, "attempt"),
    token: positive(columns, "token"),
    nonce: text(columns, "nonce"),
    createdAt: whole(columns, "created_at"),
    retentionMs: positive(columns, "retention_ms"),
    expiresAt: whole(columns, "expires_at"),
    state: stateOf(columns),
  };
}

function stateOf(columns: Record<string, unknown>): ExecutionRecord["state"] {
  const { status } = columns;
  if (status === "completed") {
    return { status, completedAt: whole(columns, "completed_at"), outcome: outcomeOf(columns) };
  }
  if (status !== "running") throw recordCorrupt("its status is unknown");
  const abandonedAt = optional(whole, columns, "abandoned_at");
  return {
    status,
    leaseExpiresAt: whole(columns, "lease_expires_at"),
    retryGranted: whole(columns, "retry_granted") === 1,
    ...(abandonedAt === undefined ? {} : { abandonedAt }),
  };
}

/** @throws EvenkeelError `RECORD_CORRUPT`. */
export function stepOf(row: unknown): StepRecord {
  const columns = row as Record<string, unknown>;
  return { position: whole(columns, "position"), name: text(columns, "name"), outcome: outcomeOf(columns) };
}

/** Drivers bind a `Buffer` for certain, other views not all. */
export function bindable(bytes: Uint8Array): Uint8Array {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const KINDS: readonly unknown[] = ["value", "error", "tombstone"] satisfies OutcomeKind[];

function outcomeOf(columns: Record<string, unknown>): StoredOutcome {
  const { outcome_kind: kind, outcome: bytes } = columns;
  if (!KINDS.includes(kind)) throw recordCorrupt("its outcome is of an unknown kind");
  // node:sqlite binds no bytes at all as NULL.
  if (bytes === null) return { kind: kind as OutcomeKind, bytes: new Uint8Array(0) };
  if (!(bytes instanceof Uint8Array)) throw recordCorrupt("its outcome is not bytes");
  // A plain Uint8Array of its own, whatever the driver gave.
  return { kind: kind as OutcomeKind, bytes: new Uint8Array(bytes) };
}

type Reader<T> = (columns: Record<string, unknown>, name: string) => T;

export function text(columns: Record<string, unknown>, name: string): string {
  const value = columns[name];
  if (typeof value !== "string") throw recordCorrupt(`its ${name} is not a text`);
  return value;
}

export function positive(columns: Record<string, unknown>, name: string): number {
  const value = whole(columns, name);
  if (value < 1) throw recordCorrupt(`its ${name} is not positive`);
  return value;
}

export function whole(columns: Record<string, unknown>, name: string): number {
  const value = columns[name];
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw recordCorrupt(`its ${name} is no whole number`);
  return value as number;
}

export function optional<T>(read: Reader<T>, columns: Record<string, unknown>, name: string): T | undefined {
  return columns[name] === null ? undefined : read(columns, name);
}
