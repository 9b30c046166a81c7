import { attemptMarkOf, type EvenkeelEvent, type ExecutionEvent, errorTypeOf } from "../../src/events.ts";

/** What metrics and spans call an operation: never a path that a client chose. */
export function operationOf({ operation, operationLabel = operation }: ExecutionEvent): string {
  return operationLabel;
}

/** How an attempt ended: the value of the label and attribute `outcome`. */
export type AttemptOutcome = "completed" | "released" | "complete_failed" | "stale" | "store_error" | "rejected";

/** That an attempt has ended. */
export interface AttemptEnd {
  readonly outcome: AttemptOutcome;
  /** Absent where it went well. */
  readonly errorType?: string;
}

/** Whether it is an event of an execution. */
export function isExecutionEvent(event: EvenkeelEvent): event is ExecutionEvent {
  return "keyHash" in event;
}

/** What tells an attempt from others: by key, token and operation alone those of two ledgers can look alike. */
export type AttemptIdentity = object | string;

/** The attempt that an event is of; undefined where it is of none. */
export function attemptOf(event: ExecutionEvent): AttemptIdentity | undefined {
  if (!("fencingToken" in event) || event.fencingToken === undefined) return undefined;
  return attemptMarkOf(event) ?? `${event.keyHash}/${event.fencingToken}/${event.operation}`;
}

/** How the attempt ended that the event is of; undefined where it goes on. Every attempt ends once. */
export function endOf(event: ExecutionEvent): AttemptEnd | undefined {
  switch (event.type) {
    case "completed":
    case "released":
      return { outcome: event.type, ...(event.errorType === undefined ? {} : { errorType: event.errorType }) };
    case "complete_failed":
      return { outcome: "complete_failed", errorType: errorTypeOf(event.error) };
    case "stale_write":
      return { outcome: "stale", errorType: "LEASE_LOST" };
    case "lease_lost":
      // Without what it threw, its function still runs.
      return "error" in event ? { outcome: "stale", errorType: "LEASE_LOST" } : undefined;
    case "store_error":
      return attemptOf(event) === undefined
        ? undefined
        : { outcome: "store_error", errorType: errorTypeOf(event.error) };
    case "rejected":
      return attemptOf(event) === undefined ? undefined : { outcome: "rejected", errorType: event.code };
    default:
      return undefined;
  }
}
