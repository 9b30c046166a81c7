import { recordCorrupt } from "../../src/execution-record.ts";
import type {
  ClaimResult,
  CommittedOutcome,
  ExecutionView,
  OutcomeKind,
  StepRecord,
  StoredOutcome,
} from "../../src/store.ts";
import type { RecordAnswer } from "./postgres-operations.ts";

/** What the functions of executions answer; each status has its own part of it. */
export interface ExecutionAnswer extends RecordAnswer {
  readonly id: string;
  readonly operation: string;
  readonly scope: string;
  readonly key?: string | null;
  readonly fingerprint?: string | null;
  readonly attempt: number;
  readonly token: number;
  readonly createdAt: number;
  readonly retentionMs: number;
  readonly expiresInMs: number;
  readonly leaseRemainingMs: number;
  readonly leaseExpiredAt: number;
  readonly retryGranted: boolean;
  readonly abandonedAt?: number | null;
  readonly completedAt: number;
  readonly kind: OutcomeKind;
  /** Hex digits, which no setting of the session (`bytea_output`) changes. */
  readonly bytes?: string;
  readonly steps: readonly { position: number; name: string; kind: OutcomeKind; bytes: string }[];
}

/** @throws EvenkeelError `RECORD_CORRUPT` when the function could not understand the record. */
export function readable<Answer extends RecordAnswer>(answer: Answer): Answer {
  if (answer.status === "corrupt") throw recordCorrupt("one of its columns holds what this version never writes");
  return answer;
}

export function claimResultOf(answer: ExecutionAnswer): ClaimResult {
  const { attempt, token, leaseRemainingMs, leaseExpiredAt, abandonedAt } = answer;
  switch (answer.status) {
    case "acquired":
      return {
        status: "acquired",
        attempt,
        token,
        leaseRemainingMs,
        ...optional("abandonedAt", abandonedAt),
        steps: stepsOf(answer),
      };
    case "completed":
      return { status: "completed", ...committedOf(answer) };
    case "running":
      return { status: "running", attempt, leaseRemainingMs };
    case "abandoned":
      return { status: "abandoned", attempt, leaseExpiredAt, steps: stepsOf(answer) };
    default:
      return { status: "mismatch" };
  }
}

/** @param own - the outcome that was asked to be committed, which the answer leaves out where it now stands. */
export function committedOf(answer: ExecutionAnswer, own?: StoredOutcome): CommittedOutcome {
  const { fingerprint, attempt, completedAt, expiresInMs, bytes } = answer;
  const outcome = bytes === undefined && own !== undefined ? copyOf(own) : outcomeOf(answer.kind, bytes);
  return { ...optional("fingerprint", fingerprint), outcome, attempt, completedAt, expiresInMs };
}

export function viewOfAnswer(answer: ExecutionAnswer): ExecutionView {
  const { id, operation, scope, key, fingerprint, attempt, token, createdAt, retentionMs, expiresInMs } = answer;
  const identity = {
    id,
    operation,
    scope,
    ...optional("key", key),
    ...optional("fingerprint", fingerprint),
    attempt,
    token,
    createdAt,
    retentionMs,
    expiresInMs,
  };
  switch (answer.status) {
    case "completed": {
      const { completedAt, kind, bytes } = answer;
      return { ...identity, status: "completed", completedAt, outcome: outcomeOf(kind, bytes) };
    }
    case "running":
      return { ...identity, status: "running", leaseRemainingMs: answer.leaseRemainingMs };
    default: {
      const { leaseExpiredAt, retryGranted } = answer;
      return { ...identity, status: "abandoned", leaseExpiredAt, retryGranted };
    }
  }
}

function stepsOf({ steps }: ExecutionAnswer): StepRecord[] {
  return steps.map(({ position, name, kind, bytes }) => ({ position, name, outcome: outcomeOf(kind, bytes) }));
}

function outcomeOf(kind: OutcomeKind, hex = ""): StoredOutcome {
  // A plain Uint8Array, of memory that nothing else is in.
  return { kind, bytes: new Uint8Array(Buffer.from(hex, "hex")) };
}

function copyOf({ kind, bytes }: StoredOutcome): StoredOutcome {
  return { kind, bytes: new Uint8Array(bytes) };
}

function optional<Name extends string, Value>(
  name: Name,
  value: Value | null | undefined,
): { readonly [K in Name]?: Value } {
  return value === null || value === undefined ? {} : ({ [name]: value } as { readonly [K in Name]?: Value });
}
