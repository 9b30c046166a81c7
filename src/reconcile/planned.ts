/** What a pass can do to a resource. */
export type ActionType = "create" | "terminate" | "forceTerminate" | "update" | "replace" | "fail" | "drop" | "adopt";

/**
 * - `create`: a missing resource, or one whose creation was interrupted, is created.
 * - `replace`: the next incarnation is created beside, or after, one that failed or is outdated.
 * - `update`: its spec is brought up to date in place.
 * - `fail`: it fell silent, and is marked FAILED in the ledger; nobody is called.
 * - `terminate`, `forceTerminate`: it is ended.
 * - `drop`: it is known not to exist (any more), and is marked TERMINATED in the ledger; nobody is called.
 * - `adopt`: it is desired, and observed without being in the ledger, which takes it in; nobody is called.
 */
export interface PlannedAction {
  readonly type: ActionType;
  readonly id: string;
  readonly incarnation: number;
  /** One word, as it will stand in the ledger. */
  readonly reason: string;
}

/** What keeps an action from being taken now. */
export type HeldBy =
  | "massGuard"
  | "unconfirmedEmpty"
  | "backoff"
  | "budget"
  | "paused"
  | "notLeader"
  | "notOwner"
  | "grace"
  | "fence"
  | "unknown";

/** An action that would be taken, and is not, for now. */
export interface HeldAction extends PlannedAction {
  readonly heldBy: HeldBy;
}

/** Something that holds for the whole group. `since` is epoch milliseconds. */
export interface Condition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly since: number;
}

/** What a pass would do. The same inputs give the same plan. */
export interface Plan {
  /** Names what would be done and held, for `approve()`. */
  readonly hash: string;
  readonly generation: number;
  readonly actions: PlannedAction[];
  /** Of what is held by `budget`, the first 500; `reconciler_actions_held_total` counts all. */
  readonly held: HeldAction[];
  readonly conditions: Condition[];
  /** Epoch milliseconds at which the plan may change by time alone. */
  readonly nextWakeAt?: number;
}

/** An action of a pass, and what became of it. */
export interface FinishedAction extends PlannedAction {
  readonly result: "done" | "failed" | "fenced";
  readonly error?: unknown;
}

/** What a pass did. */
export interface PassReport {
  readonly generation: number;
  readonly actions: FinishedAction[];
  /** As in {@link Plan.held}. */
  readonly held: HeldAction[];
  readonly conditions: Condition[];
  /** Whether observed equals desired, and nothing is left to do. */
  readonly converged: boolean;
  /**
   * Epoch milliseconds at which the next pass is due, resyncs apart. Absent where nothing comes due by time alone, and where it could
   * not be found out what is desired or observed; unless that was asked to be tried again after a time (`RetryAfter`).
   */
  readonly nextWakeAt?: number;
}

/** A pass that is over. */
export interface LastPass {
  /** When it ended: epoch milliseconds by the reconciler's clock. */
  readonly at: number;
  readonly report: PassReport;
}

/** Why an action was taken, held or skipped. */
export interface Explanation {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly action: string;
  readonly outcome: "done" | "failed" | "held" | "skipped" | "fenced";
  readonly reason: string;
  readonly epoch?: number;
}
