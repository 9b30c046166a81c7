import { type ExecutionRecord, recordCorrupt } from "../../src/execution-record.ts";
import type { CommittedOutcome, OutcomeKind, StepRecord, StoredOutcome } from "../../src/store.ts";

/** A bulk string of an answer, or nothing. */
type Bulk = Buffer | string | null | undefined;

const KINDS: readonly string[] = ["value", "error", "tombstone"];

export function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  throw recordCorrupt("a field is not a text");
}

/** @throws EvenkeelError `RECORD_CORRUPT` for what is no whole number that JavaScript keeps exactly. */
export function whole(value: unknown): number {
  const read = text(value);
  const number = Number(read);
  if (!/^\d+$/.test(read) || !Number.isSafeInteger(number)) throw recordCorrupt("a field is no whole number");
  return number;
}

function optional<T>(read: (value: unknown) => T, value: unknown): T | undefined {
  return value === null || value === undefined ? undefined : read(value);
}

/** A plain Uint8Array of its own, whatever the driver gave. */
function outcomeOf(kind: unknown, bytes: unknown): StoredOutcome {
  const word = text(kind);
  if (!KINDS.includes(word)) throw recordCorrupt("its outcome is of an unknown kind");
  if (!Buffer.isBuffer(bytes)) throw recordCorrupt("its outcome is not bytes");
  return { kind: word as OutcomeKind, bytes: new Uint8Array(bytes) };
}

/** What a script answers with `outcome`. */
export function committedOf([
  ,
  fingerprint,
  attempt,
  completedAt,
  expiresInMs,
  kind,
  bytes,
]: readonly unknown[]): CommittedOutcome {
  const known = optional(text, fingerprint);
  return {
    ...(known === undefined ? {} : { fingerprint: known }),
    outcome: outcomeOf(kind, bytes),
    attempt: whole(attempt),
    completedAt: whole(completedAt),
    expiresInMs: whole(expiresInMs),
  };
}

/** The fields and values of a hash of steps: `<position>n` name, `<position>k` kind, `<position>b` bytes. */
export function stepsOf(flat: readonly unknown[]): StepRecord[] {
  const steps = new Map<number, Map<string, unknown>>();
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [, position, part] = /^(\d+)([nkb])$/.exec(text(flat[at])) ?? [];
    if (position === undefined || part === undefined) throw recordCorrupt("its steps are malformed");
    const step = steps.get(Number(position)) ?? new Map();
    steps.set(Number(position), step.set(part, flat[at + 1]));
  }
  return [...steps]
    .sort(([a], [b]) => a - b)
    .map(([position, parts]) => ({
      position,
      name: text(parts.get("n")),
      outcome: outcomeOf(parts.get("k"), parts.get("b")),
    }));
}

/** The fields of a hash in the order of the scripts, and the server's time. */
export function recordOf(id: string, fields: readonly unknown[]): { record: ExecutionRecord; nowMs: number } {
  const [, operation, scope, key, fingerprint, attempt, token, nonce, createdAt, retention, expiresAt] =
    fields as Bulk[];
  const [status, leaseExpiresAt, retryGranted, abandonedAt, completedAt, kind, bytes, , now] = fields.slice(
    11,
  ) as Bulk[];
  const knownKey = optional(text, key);
  const knownFingerprint = optional(text, fingerprint);
  const abandoned = optional(whole, abandonedAt);
  const record: ExecutionRecord = {
    id,
    operation: text(operation),
    scope: text(scope),
    ...(knownKey === undefined ? {} : { key: knownKey }),
    ...(knownFingerprint === undefined ? {} : { fingerprint: knownFingerprint }),
    attempt: whole(attempt),
    token: whole(token),
    nonce: text(nonce),
    createdAt: whole(createdAt),
    retentionMs: whole(retention),
    expiresAt: whole(expiresAt),
    state:
      text(status) === "c"
        ? { status: "completed", completedAt: whole(completedAt), outcome: outcomeOf(kind, bytes) }
        : {
            status: "running",
            leaseExpiresAt: whole(leaseExpiresAt),
            retryGranted: text(retryGranted) === "1",
            ...(abandoned === undefined ? {} : { abandonedAt: abandoned }),
          },
  };
  return { record, nowMs: whole(now) };
}
