import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import type { ActionContext, ResourceRecord } from "../resources/resource.ts";
import type { RowWriter } from "../resources/row-writer.ts";
import type { Fence, LedgerStore } from "../store.ts";
import type { StepOutcome } from "./step.ts";

type Action<Spec> = (resource: ResourceRecord<Spec>, context: ActionContext) => unknown;

/** The user's own. What they return, or throw, is looked at before it is believed. */
export interface ActionCallbacks<Spec> {
  readonly create: Action<Spec>;
  readonly terminate: Action<Spec>;
  readonly forceTerminate?: Action<Spec> | undefined;
  readonly update?: Action<Spec> | undefined;
}

/** Says whether this process may still act, at the moment when it is asked. */
export interface ActionGate {
  /** The epoch that writes carry; without an election 0. */
  epoch(): number;
  /** What writes to the slot stand under. Defaults to nothing, as without shards. */
  fenceOf?(id: string): Fence | undefined;
  /** Runs a step; the slot stays ours until it has settled. Rejects where it isn't. Defaults to running it. */
  hold?<T>(id: string, step: () => Promise<T>): Promise<T>;
  /** Whether the slot is ours to act on. */
  isAllowed(id: string): boolean;
}

export interface ExecutorTerms<Spec> {
  readonly store: LedgerStore;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly callbacks: ActionCallbacks<Spec>;
  /** Milliseconds for which a row is held without a renewal. */
  readonly leaseMs: number;
  /** Milliseconds that a callback may take. */
  readonly actionTimeoutMs: number;
  /** Milliseconds from TERMINATING to `forceTerminate`. */
  readonly terminateGraceMs: number;
  /** How many callbacks may run at a time. */
  readonly concurrency: number;
  readonly storeTimeoutMs: number;
  /**
   * Whether the user's `observe` says what exists: then a row whose `terminate` returned stays TERMINATING until an observation
   * lacks it. Otherwise it is TERMINATED at once.
   */
  readonly ownObserve: boolean;
  readonly gate: ActionGate;
  /** Called as each step ends, before {@link Executor.execute} resolves. Must not throw. */
  readonly onOutcome: (outcome: StepOutcome) => void;
}

/** What the parts of the executor need to do one step. */
export interface Acting<Spec> {
  readonly terms: ExecutorTerms<Spec>;
  readonly writer: RowWriter;
  /** Ends callbacks that run, at once. */
  readonly signal: AbortSignal | undefined;
  /** Whether the leadership goes on under which the steps were decided. */
  readonly lasts: () => boolean;
  /** Tells callbacks that run to end. */
  readonly stop: AbortSignal | undefined;
}

/** An outcome before it is known whose. */
export type Verdict = Omit<StepOutcome, "step">;
