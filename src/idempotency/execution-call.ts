import type { Stopwatch } from "../clock.ts";
import type { ExecutionEvent } from "../events.ts";
import type { CommittedOutcome } from "../store.ts";
import type { ExecutionContext } from "./execution-context.ts";
import type { OutcomeCodec } from "./outcome.ts";
import type { ExecutionSettings } from "./settings.ts";

/** What one caller asks of an executor: the identity is valid, the fingerprint is frozen. */
export interface ExecutionCall<O> {
  /** The record's id, where it is known and the key may not be. Defaults to that of operation, scope and key. */
  readonly id?: string;
  readonly operation: string;
  /** See `ExecutionEventBase`. */
  readonly operationLabel?: string | undefined;
  readonly scope: string;
  readonly key: string;
  readonly fingerprint?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly run: (ctx: ExecutionContext) => O | Promise<O>;
  /** Once this aborts the lease is no longer renewed, so that an answer that never comes wedges nothing. */
  readonly stopRenewing?: AbortSignal | undefined;
}

/** What a caller gets from `run()`. */
export interface IdempotentResult<O> {
  readonly value: O;
  /** Whether another call made the outcome. */
  readonly replayed: boolean;
  readonly attempt: number;
  /** Epoch milliseconds by the store's clock. */
  readonly completedAt: number;
}

/** One call on its way through claim, run and settlement. */
export interface Execution<O> {
  readonly settings: ExecutionSettings<O>;
  readonly call: ExecutionCall<O>;
  readonly id: string;
  /** Names every claim of this call, so that none is granted to it twice. */
  readonly nonce: string;
  readonly codec: OutcomeCodec;
  readonly tell: (event: EventDetails) => void;
  /** Runs `work` as the inside of this execution, where a call for the same record is recognised as nested. */
  readonly enter: <T>(work: () => T | Promise<T>) => Promise<T>;
  /** Takes note of a completed record, for the cache of this process. `askedAt` was started before the store was asked. */
  readonly remember: (committed: CommittedOutcome, askedAt: Stopwatch) => void;
}

/** An event less what every event of one execution says alike. */
export type EventDetails = DistributiveOmit<ExecutionEvent, "at" | "operation" | "operationLabel" | "keyHash">;

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
