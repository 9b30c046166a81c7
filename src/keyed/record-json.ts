import { type ExecutionRecord, recordCorrupt } from "../execution-record.ts";
import type { LeaseRecord } from "../lease-record.ts";
import type { GroupRecord, ResourceRecord } from "../resource-record.ts";
import type { Fence, OutcomeKind, ResourceState, StepRecord, StoredOutcome } from "../store.ts";

/** The layout of all texts. A text of another one is `RECORD_CORRUPT`. */
const FORMAT = 1;

/** Checks a part of a parsed text, and makes of it what it stands for. */
type Read<T> = (value: unknown, what: string) => T;

/** An execution and its steps, which are kept together. */
export interface StoredExecution {
  readonly record: ExecutionRecord;
  readonly steps: readonly StepRecord[];
}

/** The highest epoch seen in a part of a group. */
export interface StoredFence extends Fence {
  readonly group: string;
}

/** A record as a text: JSON with bytes as base64. */
export function textOf(content: object | number): string {
  return JSON.stringify({ format: FORMAT, content }, function (this: Record<string, unknown>, name, value) {
    // A Buffer has already become something else in `value`.
    const raw = this[name];
    if (!(raw instanceof Uint8Array)) return value;
    return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("base64");
  });
}

/** @throws EvenkeelError `RECORD_CORRUPT` for a text that {@link textOf} did not make of such a record. */
export function contentOf<T>(storedText: string, read: Read<T>): T {
  const { format, content } = fields(parsed(storedText), "it");
  if (format !== FORMAT) throw recordCorrupt("it has an unknown format");
  return read(content, "content");
}

const text: Read<string> = (value, what) => {
  if (typeof value !== "string") throw recordCorrupt(`its ${what} is not a text`);
  return value;
};

const whole: Read<number> = (value, what) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw recordCorrupt(`its ${what} is no whole number`);
  return value as number;
};

const positive: Read<number> = (value, what) => {
  if (whole(value, what) < 1) throw recordCorrupt(`its ${what} is not positive`);
  return value as number;
};

const flag: Read<boolean> = (value, what) => {
  if (typeof value !== "boolean") throw recordCorrupt(`its ${what} is neither true nor false`);
  return value;
};

const bytes: Read<Uint8Array> = (value, what) => {
  const decoded = Buffer.from(text(value, what), "base64");
  // Buffer skips what is not base64.
  if (decoded.toString("base64") !== value) throw recordCorrupt(`its ${what} is not bytes`);
  return new Uint8Array(decoded);
};

const oneOf =
  <T extends string>(...allowed: readonly T[]): Read<T> =>
  (value, what) => {
    if (!allowed.includes(value as T)) throw recordCorrupt(`its ${what} is unknown`);
    return value as T;
  };

const listOf =
  <T>(item: Read<T>): Read<T[]> =>
  (value, what) => {
    if (!Array.isArray(value)) throw recordCorrupt(`its ${what} is no list`);
    return value.map((each) => item(each, what));
  };

type Reads<T> = { readonly [Name in keyof T]-?: Read<Exclude<T[Name], undefined>> };

/** An object with these fields, of which some may be left out. Others are ignored. */
function objectOf<T extends object>(reads: Reads<T>, optional: readonly (keyof T)[] = []): Read<T> {
  return (value, what) => {
    const all = fields(value, what);
    const read: [string, unknown][] = [];
    for (const [name, readField] of Object.entries<Read<unknown>>(reads)) {
      if (all[name] !== undefined) read.push([name, readField(all[name], name)]);
      else if (!optional.includes(name as keyof T)) throw recordCorrupt(`it has no ${name}`);
    }
    return Object.fromEntries(read) as T;
  };
}

const outcome = objectOf<StoredOutcome>({ kind: oneOf<OutcomeKind>("value", "error", "tombstone"), bytes });

const running = objectOf<Extract<ExecutionRecord["state"], { status: "running" }>>(
  { status: oneOf("running"), leaseExpiresAt: whole, retryGranted: flag, abandonedAt: whole },
  ["abandonedAt"],
);

const completed = objectOf<Extract<ExecutionRecord["state"], { status: "completed" }>>({
  status: oneOf("completed"),
  completedAt: whole,
  outcome,
});

export const readExecution: Read<StoredExecution> = objectOf<StoredExecution>({
  record: objectOf<ExecutionRecord>(
    {
      id: text,
      operation: text,
      scope: text,
      key: text,
      fingerprint: text,
      attempt: positive,
      token: positive,
      nonce: text,
      createdAt: whole,
      retentionMs: positive,
      expiresAt: whole,
      state: (value, what) => (fields(value, what)["status"] === "completed" ? completed : running)(value, what),
    },
    ["key", "fingerprint"],
  ),
  steps: listOf(objectOf<StepRecord>({ position: whole, name: text, outcome })),
});

export const readLease: Read<LeaseRecord> = objectOf<LeaseRecord>({
  name: text,
  holder: text,
  nonce: text,
  epoch: positive,
  renewals: whole,
  durationMs: positive,
  expiresAt: whole,
});

export const readGroup: Read<GroupRecord> = objectOf<GroupRecord>(
  {
    group: text,
    mark: text,
    epoch: whole,
    generation: whole,
    desired: text,
    desiredNonce: text,
    status: text,
    sequence: whole,
    floor: whole,
  },
  ["desired", "desiredNonce", "status"],
);

export const readResource: Read<ResourceRecord> = objectOf<ResourceRecord>(
  {
    group: text,
    id: text,
    incarnation: positive,
    state: oneOf<ResourceState>("PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"),
    spec: text,
    externalId: text,
    generation: whole,
    reason: text,
    attempt: whole,
    fencingToken: whole,
    createdAt: whole,
    stateChangedAt: whole,
    provisionedAt: whole,
    lastHeartbeatAt: whole,
    leaseExpiresAt: whole,
    version: positive,
    nonce: text,
    sequence: positive,
  },
  ["spec", "externalId", "reason", "provisionedAt", "lastHeartbeatAt", "leaseExpiresAt"],
);

export const readFence: Read<StoredFence> = objectOf<StoredFence>({ group: text, name: text, epoch: whole });

export const readCounter: Read<number> = whole;

function fields(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw recordCorrupt(`its ${what} is no object`);
  return value as Record<string, unknown>;
}

function parsed(storedText: string): unknown {
  try {
    return JSON.parse(storedText);
  } catch {
    // The parser's own error quotes what it could not parse.
    throw recordCorrupt("it is not JSON");
  }
}
