import type {
  AcquireLeaseRequest,
  AcquireLeaseResult,
  LeaseHolder,
  LeaseView,
  ReleaseLeaseResult,
  RenewLeaseRequest,
  RenewLeaseResult,
} from "./store.ts";

/**
 * The protocol of one lease as pure decisions, as `execution-record.ts` has it for executions: the embedded stores execute
 * them inside a transaction of theirs, the remote ones say the same in SQL and Lua.
 */
export interface LeaseRecord {
  readonly name: string;
  readonly holder: string;
  readonly nonce: string;
  readonly epoch: number;
  readonly renewals: number;
  readonly durationMs: number;
  /** From this moment on the lease has lapsed. */
  readonly expiresAt: number;
}

/** An answer, and the record to store with it: absent to leave it as it is, `"delete"` to remove it. */
export interface LeaseDecision<Result> {
  readonly result: Result;
  readonly write?: LeaseRecord | "delete";
}

/** {@link LeaseStore.acquire}. `nextEpoch` takes an epoch higher than all before it; called only for an acquisition. */
export function decideAcquire(
  stored: LeaseRecord | undefined,
  request: AcquireLeaseRequest,
  nowMs: number,
  nextEpoch: () => number,
): LeaseDecision<AcquireLeaseResult> {
  const record = alive(stored, nowMs);
  if (record === undefined) {
    const { name, holder, nonce, durationMs } = request;
    const epoch = nextEpoch();
    const expiresAt = after(nowMs, durationMs);
    return {
      result: { status: "acquired", epoch, remainingMs: durationMs },
      write: { name, holder, nonce, epoch, renewals: 0, durationMs, expiresAt },
    };
  }
  if (record.nonce === request.nonce && record.holder === request.holder) {
    return { result: { status: "acquired", epoch: record.epoch, remainingMs: record.expiresAt - nowMs } };
  }
  return { result: { status: "held", ...viewOf(record, nowMs) } };
}

/** {@link LeaseStore.renew}. */
export function decideLeaseRenewal(
  stored: LeaseRecord | undefined,
  request: RenewLeaseRequest,
  nowMs: number,
): LeaseDecision<RenewLeaseResult> {
  if (stored === undefined) return { result: { status: "missing" } };
  if (!holds(stored, request) || stored.expiresAt <= nowMs) return { result: { status: "lost" } };
  const { durationMs } = request;
  const renewed = { ...stored, renewals: stored.renewals + 1, durationMs, expiresAt: after(nowMs, durationMs) };
  return { result: { status: "renewed", remainingMs: durationMs }, write: renewed };
}

/** {@link LeaseStore.release}. */
export function decideLeaseRelease(
  stored: LeaseRecord | undefined,
  request: LeaseHolder,
): LeaseDecision<ReleaseLeaseResult> {
  if (stored === undefined) return { result: { status: "missing" } };
  if (!holds(stored, request)) return { result: { status: "lost" } };
  return { result: { status: "released" }, write: "delete" };
}

/** The lease as a reader sees it; absent once it has lapsed. */
export function leaseViewOf(stored: LeaseRecord | undefined, nowMs: number): LeaseView | undefined {
  const record = alive(stored, nowMs);
  return record === undefined ? undefined : viewOf(record, nowMs);
}

function viewOf({ name, holder, epoch, renewals, durationMs, expiresAt }: LeaseRecord, nowMs: number): LeaseView {
  return { name, holder, epoch, renewals, durationMs, remainingMs: expiresAt - nowMs };
}

/** The longest durations would leave the numbers that engines keep exactly: such a moment never comes. */
function after(momentMs: number, durationMs: number): number {
  return Math.min(momentMs + durationMs, Number.MAX_SAFE_INTEGER);
}

function alive(record: LeaseRecord | undefined, nowMs: number): LeaseRecord | undefined {
  return record !== undefined && record.expiresAt > nowMs ? record : undefined;
}

function holds(record: LeaseRecord, { holder, epoch }: LeaseHolder): boolean {
  return record.epoch === epoch && record.holder === holder;
}
