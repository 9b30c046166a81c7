import { timingSafeEqual } from "node:crypto";
import { EvenkeelError } from "./errors.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CommittedOutcome,
  CompleteRequest,
  CompleteResult,
  ExecutionView,
  Holder,
  ReleaseRequest,
  ReleaseResult,
  RenewRequest,
  RenewResult,
  SeizeRequest,
  SeizeResult,
  StepRecord,
  StoredOutcome,
} from "./store.ts";

/**
 * The protocol of one record as pure decisions: (what is stored, what is asked, the store's time) -> (the answer, what to
 * store). The embedded stores execute them inside a transaction of theirs; the remote ones say the same in SQL and Lua, and
 * the conformance suite holds all of them to it.
 */
export interface ExecutionRecord {
  readonly id: string;
  readonly operation: string;
  readonly scope: string;
  readonly key?: string;
  readonly fingerprint?: string;
  readonly attempt: number;
  /** The highest token ever granted for this id while the record exists. */
  readonly token: number;
  /** The holder's nonce; empty once the holder has given the record up. */
  readonly nonce: string;
  readonly createdAt: number;
  /** What the last claim asked for. */
  readonly retentionMs: number;
  /** From this moment on the record counts as absent. */
  readonly expiresAt: number;
  readonly state: RunningState | CompletedState;
}

interface RunningState {
  readonly status: "running";
  readonly leaseExpiresAt: number;
  /** Somebody decided that the next caller may take over. */
  readonly retryGranted: boolean;
  /** When the lease of the attempt before lapsed, if this attempt took it over on its own account. */
  readonly abandonedAt?: number;
}

interface CompletedState {
  readonly status: "completed";
  readonly completedAt: number;
  readonly outcome: StoredOutcome;
}

/** An answer, and what to store with it. */
export interface Decision<Result> {
  readonly result: Result;
  /** The record to store; absent to leave it as it is, `"delete"` to remove it. */
  readonly write?: ExecutionRecord | "delete";
  /** Whether the remembered steps go. */
  readonly forgetSteps?: boolean;
}

/** What a claim needs besides the record. */
export interface ClaimContext {
  readonly nowMs: number;
  /** Takes a token higher than all before it; called only when a claim is granted. */
  nextToken(): number;
  /** The remembered steps; called only when the answer carries them. */
  steps(): readonly StepRecord[];
}

/** {@link ExecutionStore.claim}. */
export function decideClaim(
  stored: ExecutionRecord | undefined,
  request: ClaimRequest,
  context: ClaimContext,
): Decision<ClaimResult> {
  const { nowMs } = context;
  const record = present(stored, nowMs);
  if (record === undefined) return grant(undefined, request, context);
  if (!sameFingerprint(record.fingerprint, request.fingerprint)) return { result: { status: "mismatch" } };
  const { state } = record;
  if (state.status === "completed") {
    return { result: { status: "completed", ...committed(record, state, nowMs) } };
  }
  const leaseRemainingMs = state.leaseExpiresAt - nowMs;
  if (record.nonce === request.nonce) return grantAgain(record, state, request, context);
  if (leaseRemainingMs > 0) return { result: { status: "running", attempt: record.attempt, leaseRemainingMs } };
  if (request.onAbandoned === "takeover" || state.retryGranted) return grant(record, request, context);
  const leaseExpiredAt = state.leaseExpiresAt;
  return { result: { status: "abandoned", attempt: record.attempt, leaseExpiredAt, steps: context.steps() } };
}

/** A new grant: of an absent record, or by takeover of a lapsed one. */
function grant(
  previous: ExecutionRecord | undefined,
  request: ClaimRequest,
  context: ClaimContext,
): Decision<ClaimResult> {
  const { nowMs } = context;
  const token = context.nextToken();
  const attempt = (previous?.attempt ?? 0) + 1;
  const leaseExpiresAt = after(nowMs, request.leaseMs);
  const before = previous?.state.status === "running" ? previous.state : undefined;
  const abandonedAt = before === undefined || before.retryGranted ? undefined : before.leaseExpiresAt;
  const fingerprint = previous?.fingerprint ?? request.fingerprint;
  const key = previous?.key ?? request.key;
  return {
    result: {
      status: "acquired",
      attempt,
      token,
      leaseRemainingMs: request.leaseMs,
      ...(abandonedAt === undefined ? {} : { abandonedAt }),
      steps: previous === undefined ? [] : context.steps(),
    },
    write: {
      id: request.id,
      operation: request.operation,
      scope: request.scope,
      ...(key === undefined ? {} : { key }),
      ...(fingerprint === undefined ? {} : { fingerprint }),
      attempt,
      token,
      nonce: request.nonce,
      createdAt: previous?.createdAt ?? nowMs,
      retentionMs: request.retentionMs,
      expiresAt: after(leaseExpiresAt, request.retentionMs),
      state: {
        status: "running",
        leaseExpiresAt,
        retryGranted: false,
        ...(abandonedAt === undefined ? {} : { abandonedAt }),
      },
    },
    forgetSteps: previous === undefined,
  };
}

/**
 * The same claim again: its first answer was lost or came too late. Inside the lease nothing changes; after it the same
 * grant gets a new lease, which is safe because nobody was granted anything in between.
 */
function grantAgain(
  record: ExecutionRecord,
  state: RunningState,
  request: ClaimRequest,
  context: ClaimContext,
): Decision<ClaimResult> {
  const lapsed = state.leaseExpiresAt <= context.nowMs;
  const leaseExpiresAt = lapsed ? after(context.nowMs, request.leaseMs) : state.leaseExpiresAt;
  const result: ClaimResult = {
    status: "acquired",
    attempt: record.attempt,
    token: record.token,
    leaseRemainingMs: leaseExpiresAt - context.nowMs,
    ...(state.abandonedAt === undefined ? {} : { abandonedAt: state.abandonedAt }),
    steps: context.steps(),
  };
  if (!lapsed) return { result };
  const expiresAt = after(leaseExpiresAt, request.retentionMs);
  return { result, write: { ...record, expiresAt, state: { ...state, leaseExpiresAt } } };
}

/** {@link ExecutionStore.renew}. */
export function decideRenew(
  stored: ExecutionRecord | undefined,
  request: RenewRequest,
  nowMs: number,
): Decision<RenewResult> {
  const record = present(stored, nowMs);
  if (record === undefined) return { result: { status: "missing" } };
  if (!holds(record, request)) return { result: { status: "lost" } };
  if (record.state.status === "completed") return { result: { status: "finalized" } };
  if (record.state.leaseExpiresAt <= nowMs) return { result: { status: "lost" } };
  const leaseExpiresAt = after(nowMs, request.leaseMs);
  return {
    result: { status: "renewed", leaseRemainingMs: request.leaseMs },
    write: {
      ...record,
      expiresAt: after(leaseExpiresAt, request.retentionMs),
      state: { ...record.state, leaseExpiresAt },
    },
  };
}

/** {@link ExecutionStore.complete}. */
export function decideComplete(
  stored: ExecutionRecord | undefined,
  request: CompleteRequest,
  nowMs: number,
): Decision<CompleteResult> {
  const record = present(stored, nowMs);
  if (record === undefined) return { result: { status: "missing" } };
  const mine = holds(record, request);
  if (record.state.status === "completed") {
    return { result: { status: mine ? "committed" : "finalized", ...committed(record, record.state, nowMs) } };
  }
  if (!mine) return { result: { status: "lost" } };
  const state: CompletedState = { status: "completed", completedAt: nowMs, outcome: request.outcome };
  const completed: ExecutionRecord = { ...record, expiresAt: after(nowMs, request.retentionMs), state };
  return {
    result: { status: "committed", ...committed(completed, state, nowMs) },
    write: completed,
    forgetSteps: true,
  };
}

/** {@link ExecutionStore.release}. */
export function decideRelease(
  stored: ExecutionRecord | undefined,
  request: ReleaseRequest,
  nowMs: number,
): Decision<ReleaseResult> {
  const record = present(stored, nowMs);
  if (record === undefined) return { result: { status: "missing" } };
  if (record.state.status === "completed") {
    const status = holds(record, request) ? "committed" : "finalized";
    return { result: { status, ...committed(record, record.state, nowMs) } };
  }
  // The token alone says that this very release was here before: a record that was given up has no nonce.
  if (record.token === request.token && record.nonce === "") return { result: { status: "released" } };
  if (!holds(record, request)) return { result: { status: "lost" } };
  const { as } = request;
  if (as.mode === "forget") return { result: { status: "released" }, write: "delete", forgetSteps: true };
  const leaseExpiresAt = as.mode === "abandon" ? (as.leaseExpiredAt ?? nowMs) : nowMs;
  return {
    result: { status: "released" },
    write: {
      ...record,
      attempt: as.attempt,
      nonce: "",
      expiresAt: after(leaseExpiresAt, as.retentionMs),
      state: { status: "running", leaseExpiresAt, retryGranted: as.mode === "retry" },
    },
  };
}

/** {@link ExecutionStore.seize}. Who gave the record up, or fell silent, is no holder, and is stale afterwards all the same. */
export function decideSeize(
  stored: ExecutionRecord | undefined,
  request: SeizeRequest,
  context: Pick<ClaimContext, "nowMs" | "nextToken">,
): Decision<SeizeResult> {
  const { nowMs } = context;
  const record = present(stored, nowMs);
  if (record === undefined) return { result: { status: "missing" } };
  const { state, attempt } = record;
  if (state.status === "completed") return { result: { status: "completed", ...committed(record, state, nowMs) } };
  const isAgain = record.nonce === request.nonce;
  if (!isAgain && record.token !== request.token) return { result: { status: "changed" } };
  if (isAgain && state.leaseExpiresAt > nowMs) {
    const leaseRemainingMs = state.leaseExpiresAt - nowMs;
    return { result: { status: "seized", token: record.token, attempt, leaseRemainingMs } };
  }
  const token = isAgain ? record.token : context.nextToken();
  const leaseExpiresAt = after(nowMs, request.leaseMs);
  return {
    result: { status: "seized", token, attempt, leaseRemainingMs: leaseExpiresAt - nowMs },
    write: {
      ...record,
      token,
      nonce: request.nonce,
      expiresAt: after(leaseExpiresAt, request.retentionMs),
      state: { status: "running", leaseExpiresAt, retryGranted: false },
    },
  };
}

/** Whether the holder may record a step; the store writes it when the answer is `recorded`. */
export function decideStep(
  stored: ExecutionRecord | undefined,
  request: Holder,
  nowMs: number,
): "recorded" | "finalized" | "lost" | "missing" {
  const record = present(stored, nowMs);
  if (record === undefined) return "missing";
  if (!holds(record, request)) return "lost";
  return record.state.status === "completed" ? "finalized" : "recorded";
}

/** The record as a reader sees it; absent once it has expired. */
export function viewOf(stored: ExecutionRecord | undefined, nowMs: number): ExecutionView | undefined {
  const record = present(stored, nowMs);
  if (record === undefined) return undefined;
  const { id, operation, scope, key, fingerprint, attempt, token, createdAt, state } = record;
  const identity = {
    id,
    operation,
    scope,
    ...(key === undefined ? {} : { key }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    attempt,
    token,
    createdAt,
    retentionMs: record.retentionMs,
    expiresInMs: record.expiresAt - nowMs,
  };
  if (state.status === "completed") {
    return { ...identity, status: "completed", completedAt: state.completedAt, outcome: state.outcome };
  }
  const leaseRemainingMs = state.leaseExpiresAt - nowMs;
  if (leaseRemainingMs > 0) return { ...identity, status: "running", leaseRemainingMs };
  return { ...identity, status: "abandoned", leaseExpiredAt: state.leaseExpiresAt, retryGranted: state.retryGranted };
}

/** The order of {@link ExecutionStore.recent}. */
export function compareRecency(
  a: Pick<ExecutionRecord, "id" | "createdAt">,
  b: Pick<ExecutionRecord, "id" | "createdAt">,
): number {
  return b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1);
}

/** The error of a record that can't be understood. `what` names the part, never its content. */
export function recordCorrupt(what: string, options?: ErrorOptions): EvenkeelError {
  return new EvenkeelError(
    "RECORD_CORRUPT",
    `The stored record can't be read: ${what}. Nothing ran, and the record was left as it is.`,
    options,
  );
}

/** The longest durations would leave the numbers that engines keep exactly: such a moment never comes. */
function after(momentMs: number, durationMs: number): number {
  return Math.min(momentMs + durationMs, Number.MAX_SAFE_INTEGER);
}

function present(record: ExecutionRecord | undefined, nowMs: number): ExecutionRecord | undefined {
  return record !== undefined && record.expiresAt > nowMs ? record : undefined;
}

function holds(record: ExecutionRecord, holder: Holder): boolean {
  return record.token === holder.token && record.nonce === holder.nonce;
}

function committed(record: ExecutionRecord, state: CompletedState, nowMs: number): CommittedOutcome {
  const { outcome, completedAt } = state;
  const { fingerprint, attempt } = record;
  const expiresInMs = record.expiresAt - nowMs;
  return { ...(fingerprint === undefined ? {} : { fingerprint }), outcome, attempt, completedAt, expiresInMs };
}

/**
 * Whether two fingerprints are of one payload, as far as is known: a side without one fits all. In constant time, so that
 * nobody learns a stored digest byte by byte.
 */
export function sameFingerprint(stored: string | undefined, asked: string | undefined): boolean {
  if (stored === undefined || asked === undefined) return true;
  const a = Buffer.from(stored);
  const b = Buffer.from(asked);
  return a.length === b.length && timingSafeEqual(a, b);
}
