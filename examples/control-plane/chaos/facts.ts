import type { ResourceState } from "evenkeel";
import type { StateAnswer } from "../routes/state.ts";
import type { DeliveryCounts } from "./delivery.ts";
import type { FaultCounts } from "./faults.ts";

/** What a run has recorded, and all that the judge goes by. Moments (`at`, `…AtMs`) are epoch milliseconds of this machine. */
export interface Facts {
  readonly groups: readonly GroupFacts[];
  readonly requests: readonly RequestFacts[];
  /** What was done to them on their way. */
  readonly deliveries: DeliveryCounts;
  /** What keys that had been answered got for another body. */
  readonly mismatches: readonly MismatchFacts[];
  /** What the workers wrote of themselves, in the order of the log. */
  readonly lines: readonly WorkerLine[];
  /** Processes that ran while the ledger had no row of theirs, nor had had one. */
  readonly strangers: readonly WorkerProcess[];
  /** Every state of every row that was seen, in the order in which it was. */
  readonly rows: readonly RowSeen[];
  /** What was said of the leader, by the lease itself and by each copy's `/state`, in the order in which it was heard. */
  readonly leaders: readonly LeaderSeen[];
  /** Each time that a copy took itself for the leader. */
  readonly beliefs: readonly BeliefSeen[];
  /** The highest epoch of each group's writes, each time it was looked at. */
  readonly epochs: readonly EpochSeen[];
  /** Writes under epochs of former leaders, made for the purpose. */
  readonly probes: readonly ProbeFacts[];
  /** What was done to workers and copies. */
  readonly faults: FaultCounts;
  /** The workers that were killed or frozen. */
  readonly strikes: readonly Strike[];
  /** How long a worker may be silent before it is replaced, in milliseconds. */
  readonly staleMs: number;
  /** Changes of the leader that a fault forced. */
  readonly takeovers: readonly TakeoverFacts[];
  /** Copies that ended although nobody had ended them, or did not end well when they were asked to. */
  readonly crashes: readonly string[];
  /** All of it when the faults were over and it had settled, or should have. */
  readonly settled: Snapshot;
  /** The same some resyncs later. */
  readonly later: Snapshot;
}

/** What the requests of a run come to. */
export interface GroupFacts {
  readonly name: string;
  /** The ids that are desired in the end if every request had its effect once. */
  readonly expected: readonly string[];
  /** The generation before the first request. */
  readonly generationBefore: number;
  /** How many requests changed what is desired: each is one generation. */
  readonly changes: number;
}

/** One request by its key, however often it was sent. */
export interface RequestFacts {
  readonly key: string;
  readonly method: "POST" | "PUT" | "DELETE";
  readonly path: string;
  /** Every final answer that came back, of whichever copy. */
  readonly answers: readonly Answer[];
  /** How often it was sent. */
  readonly sent: number;
  /** Of those: to how many the reply was thrown away. */
  readonly dropped: number;
  /** How often it was told to come again. */
  readonly deferred: number;
  /** The statuses that it may be answered with. */
  readonly wanted: readonly number[];
}

export interface Answer {
  readonly copy: string;
  readonly status: number;
  readonly body: string;
  /** By the header `Idempotent-Replayed`. */
  readonly replayed: boolean;
}

export interface MismatchFacts {
  readonly key: string;
  readonly status: number;
}

/** A line of the workers' log. */
export interface WorkerLine {
  readonly event: "started" | "refused" | "ended";
  readonly id: string;
  readonly group: string;
  readonly incarnation: number;
  readonly key: string;
  readonly pid: number;
  readonly atMs: number;
  readonly why?: string;
}

/** A worker that was killed or frozen. */
export interface Strike {
  readonly group: string;
  readonly id: string;
  readonly incarnation: number;
}

/** A worker that lives: it runs, or is frozen. */
export interface WorkerProcess extends Strike {
  readonly pid: number;
}

export interface RowSeen {
  readonly at: number;
  readonly group: string;
  readonly id: string;
  readonly incarnation: number;
  readonly state: ResourceState;
  readonly version: number;
  readonly fencingToken: number;
  readonly externalId?: string;
  /** What its last change was for. */
  readonly reason?: string;
  /** For how long it had not beaten, in milliseconds; absent where it never had. */
  readonly silentMs?: number;
}

export interface LeaderSeen {
  readonly at: number;
  /** `lease`, or the copy that said so; a copy that was started again is another one. */
  readonly by: string;
  readonly identity: string;
  readonly epoch: number;
}

export interface BeliefSeen {
  /** The copy; one that was started again is another one. */
  readonly by: string;
  /** What it leads as. */
  readonly identity: string;
  readonly epoch: number;
  /** The newest epoch that the lease had had before the copy was asked. */
  readonly newest: number;
}

export interface EpochSeen {
  readonly group: string;
  readonly epoch: number;
}

export interface ProbeFacts {
  readonly group: string;
  readonly what: "apply" | "setDesired";
  readonly epoch: number;
  /** The epoch that the group had seen before. */
  readonly seen: number;
  /** `fenced`, unless something is wrong. */
  readonly status: string;
}

export interface TakeoverFacts {
  readonly fault: string;
  readonly former: string;
  /** How long it took until another copy led, in milliseconds; absent where none did in time. */
  readonly tookMs?: number;
}

/** What there is, by all who can tell. */
export interface Snapshot {
  readonly at: number;
  /** Who leads, by the lease. */
  readonly leader?: { readonly identity: string; readonly epoch: number };
  readonly groups: readonly GroupSnapshot[];
  readonly copies: readonly CopySnapshot[];
  readonly processes: readonly WorkerProcess[];
}

/** A group by the ledger itself. */
export interface GroupSnapshot {
  readonly name: string;
  readonly generation: number;
  readonly epoch: number;
  readonly desired: readonly string[];
  /** Tombstones left out. */
  readonly rows: readonly RowSeen[];
}

/** What a copy answers to `GET /state`; absent where it does not answer. */
export interface CopySnapshot {
  readonly name: string;
  readonly state?: StateAnswer;
}
