import { isUtf8 } from "node:buffer";
import { type ExecutionRecord, recordCorrupt } from "../../src/execution-record.ts";
import type { CommittedOutcome, OutcomeKind, StepRecord, StoredOutcome } from "../../src/store.ts";

/** Ends the header of a record. */
const NEWLINE = 10;

/** Up to here, making a text of bytes costs less than writing them by themselves. */
const SHORT_BYTES = 16_384;

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

function outcomeOf(kind: unknown, bytes: Uint8Array): StoredOutcome {
  const word = text(kind);
  if (!KINDS.includes(word)) throw recordCorrupt("its outcome is of an unknown kind");
  return { kind: word as OutcomeKind, bytes };
}

/** A plain Uint8Array of its own, whatever the driver gave. */
function bytesOf(value: unknown): Uint8Array {
  if (!Buffer.isBuffer(value)) throw recordCorrupt("its outcome is not bytes");
  return new Uint8Array(value);
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
      outcome: outcomeOf(parts.get("k"), bytesOf(parts.get("b"))),
    }));
}

/**
 * The outcome in a record as `redis-execution-record.ts` lays it out.
 * @param sent - The bytes, where the answer leaves them out since they were sent with the question.
 */
export function committedOf(now: unknown, value: unknown, sent?: Uint8Array): CommittedOutcome {
  const header = headerOf(value);
  const { raw, numbers, what, keyEnd, fingerprintEnd, outcomeAt } = header;
  return {
    ...(header.hasFingerprint ? { fingerprint: raw.toString("utf8", keyEnd, fingerprintEnd) } : {}),
    outcome: outcomeOf(what, sent ?? new Uint8Array(raw.subarray(outcomeAt))),
    attempt: numbers.attempt,
    completedAt: numbers.moment,
    expiresInMs: numbers.expiresAt - whole(now),
  };
}

/** A record as `redis-execution-record.ts` lays it out. */
export function recordOf(id: string, value: unknown): ExecutionRecord {
  const header = headerOf(value);
  const { raw, numbers, textsAt, operationEnd, scopeEnd, keyEnd, fingerprintEnd, outcomeAt } = header;
  const { attempt, token, createdAt, retentionMs, expiresAt, moment } = numbers;
  return {
    id,
    operation: raw.toString("utf8", textsAt, operationEnd),
    scope: raw.toString("utf8", operationEnd, scopeEnd),
    ...(header.hasKey ? { key: raw.toString("utf8", scopeEnd, keyEnd) } : {}),
    ...(header.hasFingerprint ? { fingerprint: raw.toString("utf8", keyEnd, fingerprintEnd) } : {}),
    attempt,
    token,
    nonce: raw.toString("utf8", fingerprintEnd, outcomeAt),
    createdAt,
    retentionMs,
    expiresAt,
    state:
      header.status === "c"
        ? {
            status: "completed",
            completedAt: moment,
            outcome: outcomeOf(header.what, new Uint8Array(raw.subarray(outcomeAt))),
          }
        : {
            status: "running",
            leaseExpiresAt: moment,
            retryGranted: header.what === "1",
            ...(header.abandonedAt === "-" ? {} : { abandonedAt: whole(header.abandonedAt) }),
          },
  };
}

/** What is before a record's texts, and where those are in it. */
function headerOf(value: unknown) {
  if (!Buffer.isBuffer(value)) throw recordCorrupt("it is not bytes");
  const textsAt = value.indexOf(NEWLINE) + 1;
  const words = value.toString("latin1", 0, Math.max(textsAt - 1, 0)).split(" ");
  if (words.length !== 18) throw recordCorrupt("its header is malformed");
  const [, , status, attempt, token, expiresAt, moment, what, abandonedAt, , nonce, , retentionMs, createdAt] = words;
  const [operation, scope, key, fingerprint] = words.slice(14);
  const operationEnd = textsAt + whole(operation);
  const scopeEnd = operationEnd + whole(scope);
  const keyEnd = scopeEnd + (key === "-" ? 0 : whole(key));
  const fingerprintEnd = keyEnd + (fingerprint === "-" ? 0 : whole(fingerprint));
  return {
    raw: value,
    status,
    what,
    abandonedAt,
    numbers: {
      attempt: whole(attempt),
      token: whole(token),
      createdAt: whole(createdAt),
      retentionMs: whole(retentionMs),
      expiresAt: whole(expiresAt),
      moment: whole(moment),
    },
    hasKey: key !== "-",
    hasFingerprint: fingerprint !== "-",
    ...{ textsAt, operationEnd, scopeEnd, keyEnd, fingerprintEnd },
    outcomeAt: fingerprintEnd + whole(nonce),
  };
}

/** Short texts as such: drivers put them into one piece with the rest of a command, and write a Buffer by itself. */
export function argumentOf({ buffer, byteOffset, byteLength }: Uint8Array): string | Buffer {
  const bytes = Buffer.from(buffer, byteOffset, byteLength);
  return byteLength <= SHORT_BYTES && isUtf8(bytes) ? bytes.toString("utf8") : bytes;
}
