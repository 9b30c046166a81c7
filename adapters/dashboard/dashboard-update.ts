import type { Condition, HeldBy } from "../../src/reconcile/planned.ts";
import type { ResourceState } from "../../src/store.ts";

/**
 * What the server tells the page, as JSON in server-sent events: one `hello` at the beginning of a stream, then an `update` whenever
 * the ledger was looked at, and a `beat`, which says nothing, every 5 seconds. All `…At` and `at` are epoch milliseconds by the server's clock. Keys of executions are never in it.
 *
 * The page asks for a window by the stream's address: `events?group=G&states=A,B&after=CURSOR&limit=N`.
 */
export interface DashboardHello {
  readonly title: string;
  /** Whether buttons are shown, and their requests taken. */
  readonly actions: boolean;
  /** Lines for people that the program has to say, such as what to try, with a command to copy. */
  readonly notes: readonly DashboardNote[];
  /** Milliseconds between two looks at the ledger. */
  readonly intervalMs: number;
  /** What was seen before the page was opened, by group, oldest first. */
  readonly history: Readonly<Record<string, readonly HistoryPoint[]>>;
}

/** A sentence, and a command line that goes with it. */
export interface DashboardNote {
  readonly text: string;
  readonly command?: string;
}

/** One group at one moment. `null` is unknown, which the chart shows as a gap. */
export interface HistoryPoint {
  readonly at: number;
  readonly desired: number | null;
  /** Rows that are PROVISIONED. */
  readonly observed: number | null;
}

export interface DashboardUpdate {
  readonly at: number;
  /** By name, at most 100. This and the next three are absent as long as they could never be found out. */
  readonly groups?: readonly GroupSummary[];
  /** The asked part of the asked group; absent where it asks for none or there is no such group. */
  readonly window?: ResourceWindow;
  readonly executions?: ExecutionsSummary;
  readonly elections?: readonly ElectionSummary[];
  readonly divisions?: readonly DivisionSummary[];
  /** What could not be found out this time: everything that rests on it stands as it was. */
  readonly problems: readonly DashboardProblem[];
}

/** `code` is that of an `EvenkeelError`. */
export interface DashboardProblem {
  readonly of: "groups" | "window" | "executions" | "leases";
  /** Where it is of one group alone. */
  readonly group?: string;
  readonly code: string;
}

export interface GroupSummary {
  readonly name: string;
  /** This, the next and `conditions` are absent as long as the group could never be read. */
  readonly generation?: number;
  /** The generation that a reconciler acted on last. */
  readonly observedGeneration?: number;
  /** Absent where nothing was desired yet, also where a reconciler's own `desired` has not been asked. */
  readonly desired?: number;
  /** Rows by state. Absent until they have been counted, which takes several looks where there are very many. */
  readonly observed?: Readonly<Record<ResourceState, number>>;
  /** Absent before the first pass. */
  readonly converged?: boolean;
  readonly conditions?: readonly Condition[];
  /** Whether its reconciler runs in the process that serves the page: the following is known then. */
  readonly isHere: boolean;
  readonly paused?: boolean;
  /** Absent without an election. */
  readonly leader?: boolean;
  /** When the last pass of this process ended. */
  readonly lastPassAt?: number;
  /** What that pass held back: the first 50 of {@link heldTotal}. Absent where another process leads, which knows better. */
  readonly held?: readonly HeldSummary[];
  readonly heldTotal?: number;
}

export interface HeldSummary {
  readonly type: string;
  readonly id: string;
  readonly incarnation: number;
  readonly reason: string;
  readonly heldBy: HeldBy;
}

/** At most `limit` rows of a group, in the order of their ids. */
export interface ResourceWindow {
  readonly group: string;
  /** Rows in the asked states, over all windows; absent where that is not known yet. */
  readonly total?: number;
  readonly rows: readonly ResourceSummary[];
  /** Where the next window begins; absent at the end. */
  readonly next?: string;
}

export interface ResourceSummary {
  readonly id: string;
  readonly incarnation: number;
  readonly state: ResourceState;
  readonly generation: number;
  readonly attempt: number;
  readonly externalId?: string;
  readonly reason?: string;
  readonly stateChangedAt: number;
  /** Milliseconds since the last heartbeat, by the store's clock; absent where there was none. */
  readonly heartbeatAgeMs?: number;
}

/** At most 50 of each. */
export interface ExecutionsSummary {
  readonly running: readonly ExecutionSummary[];
  readonly abandoned: readonly ExecutionSummary[];
  /** The last that began, newest first, whatever became of them. */
  readonly recent: readonly ExecutionSummary[];
  /** Of which there are others besides. */
  readonly more: readonly ExecutionsPart[];
}

/** A list of executions. */
export type ExecutionsPart = "running" | "abandoned" | "recent";

export interface ExecutionSummary {
  /** The record's id, a digest of 64 hex digits; its first 16 are the `keyHash` of events. */
  readonly id: string;
  readonly operation: string;
  /** A digest of it: scopes may name people. Absent for the empty scope. */
  readonly scopeHash?: string;
  readonly status: "running" | "abandoned" | "completed";
  readonly attempt: number;
  readonly token: number;
  readonly createdAt: number;
  readonly leaseRemainingMs?: number;
  readonly leaseExpiredAt?: number;
  readonly retryGranted?: boolean;
  readonly completedAt?: number;
  readonly outcome?: "value" | "error" | "tombstone";
}

/** A named lease outside of divisions. */
export interface ElectionSummary {
  readonly name: string;
  readonly leader: string;
  readonly epoch: number;
  readonly remainingMs: number;
}

/** One division into shards. */
export interface DivisionSummary {
  readonly name: string;
  readonly shards: number;
  readonly unowned: number;
  readonly members: readonly DivisionMemberSummary[];
}

/** Who takes part in a division, or has left it and holds shards still. */
export interface DivisionMemberSummary {
  readonly id: string;
  /** How many it holds. */
  readonly shards: number;
  /** Absent of one that has left. */
  readonly weight?: number;
}

/** What the page asks for with `POST actions`, where actions are on. Refusals are problem documents. */
export type DashboardAction =
  | { readonly type: "pause" | "resume"; readonly group: string }
  /** Carries out the plan that the answer to `GET plan?group=…` showed. */
  | { readonly type: "approve"; readonly group: string; readonly planHash: string }
  | { readonly type: "wake"; readonly group: string; readonly id: string }
  /** Lets the next caller run it: of an abandoned record, and by force of a running one. `token` is the one that was seen. */
  | { readonly type: "release"; readonly id: string; readonly token: number };

/** The answer to an `approve` whose pass is over. */
export interface DashboardApproved {
  /** How many actions were carried out. */
  readonly done: number;
  /** How many failed, or were refused because another process leads by now. */
  readonly failed: number;
  /** How many were held back. */
  readonly held: number;
}

/** The answer to `GET plan?group=…`, where actions are on: what a pass would do now. */
export interface DashboardPlan {
  /** What `approve` names. */
  readonly hash: string;
  readonly generation: number;
  /** The first 50 of {@link actionsTotal}. */
  readonly actions: readonly Omit<HeldSummary, "heldBy">[];
  readonly actionsTotal: number;
  /** The first 50 of {@link heldTotal}. */
  readonly held: readonly HeldSummary[];
  readonly heldTotal: number;
}
