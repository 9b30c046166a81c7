import type { MetricSample } from "./metric-sample.ts";
import { dropRejection } from "./rejections.ts";

/** What every event of an execution says. */
export interface ExecutionEventBase {
  /** Epoch milliseconds by the clock of this process. */
  readonly at: number;
  readonly operation: string;
  /**
   * What telemetry calls the operation where that is the path of a request, of which clients make as many as they like, with ids and
   * names in them: the method and the route, or `POST *`. Absent where `operation` is a name that the program gave.
   */
  readonly operationLabel?: string;
  /**
   * The first 16 hex digits of the record's id: enough to correlate. It is a hash without a salt: whoever can guess a key
   * can recognise it.
   */
  readonly keyHash: string;
}

/** What events of an attempt say besides. */
export interface AttemptEventBase extends ExecutionEventBase {
  readonly attempt: number;
  readonly fencingToken: number;
}

/** What events say by which an attempt begins. */
export interface AttemptBegunBase extends AttemptEventBase {
  /**
   * Keeps a trace context (the header `traceparent` of W3C Trace Context, version 00) with the outcome that this attempt makes, so that
   * replays can be led back to it, also in other processes: they find it in `replayed`. To be called while the listener runs; later,
   * or with anything else, nothing happens.
   */
  readonly keepTraceparent?: (traceparent: string) => void;
}

/** Which attempt ended by it, where one did. */
export interface EndedAttempt {
  readonly attempt?: number;
  readonly fencingToken?: number;
}

/**
 * What happened to an execution. Keys, inputs and outcomes never appear in an event.
 *
 * Every attempt that begins (`claimed`, `taken_over`) ends with exactly one of these, unless its process ends first or its function
 * never returns: `completed`, `released`, `complete_failed`, `stale_write`, a `lease_lost` that has an `error`, or a `store_error` or
 * `rejected` that has an `attempt`.
 */
export type ExecutionEvent =
  /** A first attempt got its claim. */
  | (AttemptBegunBase & { readonly type: "claimed" })
  /** An attempt after one that fell silent, or that was granted a retry, got its claim. */
  | (AttemptBegunBase & { readonly type: "taken_over" })
  /** The outcome is durable. */
  | (AttemptEventBase & {
      readonly type: "completed";
      readonly durationMs: number;
      /** What the function threw, where it threw: its code, else its name, else `_OTHER`. */
      readonly errorType?: string;
    })
  /** The function threw (or its answer is not to be kept), and the key is free again. */
  | (AttemptEventBase & {
      readonly type: "released";
      /**
       * What the function threw: its code, else its name, else `_OTHER`. Absent where nothing ran: `recoverAbandoned` left the key to its
       * next caller.
       */
      readonly errorType?: string;
    })
  /** The outcome can't be replayed: it has no encoding, or is too large. */
  | (AttemptEventBase & { readonly type: "tombstoned"; readonly reason: "not_encodable" | "too_large" })
  /** `ctx.complete(a)` was followed by another outcome, which nobody but this process saw. */
  | (AttemptEventBase & { readonly type: "outcome_ignored" })
  /** The claim is no longer ours, or can't be shown to be. `error` is what a stale attempt threw. */
  | (AttemptEventBase & { readonly type: "lease_lost"; readonly reason: LeaseLossReason; readonly error?: unknown })
  /** A stale attempt tried to commit and was refused. */
  | (AttemptEventBase & { readonly type: "stale_write" })
  /** The function succeeded and its outcome could not be made durable. The claim stays. */
  | (AttemptEventBase & { readonly type: "complete_failed"; readonly error: unknown })
  | (ExecutionEventBase & {
      readonly type: "replayed";
      readonly from: "store" | "cache" | "waiting";
      /** The trace context that was kept with the outcome. */
      readonly traceparent?: string;
      /** What the caller gets thrown, where a stored error is the outcome: its code, else its name, else `_OTHER`. */
      readonly errorType?: string;
    })
  | (ExecutionEventBase & {
      readonly type: "waited";
      readonly durationMs: number;
      readonly outcome: "settled" | "timeout" | "aborted" | "failed";
    })
  /** The caller was turned away without a run; `code` is that of its `EvenkeelError`. */
  | (ExecutionEventBase & EndedAttempt & { readonly type: "rejected"; readonly code: string })
  | (ExecutionEventBase & { readonly type: "mismatch" })
  /** A store call failed for good. `ranUnprotected`: `onStoreError: "open"` let the function run without a claim. */
  | (ExecutionEventBase &
      EndedAttempt & { readonly type: "store_error"; readonly error: unknown; readonly ranUnprotected: boolean });

/** `deadline`: the holder's own deadline passed before a renewal was confirmed. The others are the store's words. */
export type LeaseLossReason = "deadline" | "lost" | "missing" | "finalized";

/** Expired records were deleted. */
export interface PurgedEvent {
  readonly type: "purged";
  readonly at: number;
  readonly count: number;
}

/** A server would not tell a setting on which guarantees rest: nobody but its operator can say whether it is right. */
export interface StoreSettingUnknownEvent {
  readonly type: "store_setting_unknown";
  readonly at: number;
  /** The function that made the store. */
  readonly store: string;
  /** The setting's name in the engine. */
  readonly setting: string;
}

/** What every event of a `Reconciler` says. */
export interface ReconcilerEventBase {
  /** Epoch milliseconds by the clock of this process. */
  readonly at: number;
  /** The reconciler's name. */
  readonly reconciler: string;
}

/** What events say by which a reconciler comes and goes. */
export interface ReconcilerPresence extends ReconcilerEventBase {
  /** Its `metrics()`, for whoever exports them; the same function each time, so that it can be told from another of its name. */
  readonly metrics: () => MetricSample[];
}

/** What a reconciler did, and what it found. */
export type ReconcilerEvent =
  /** There is one, which has done nothing yet. */
  | (ReconcilerPresence & { readonly type: "reconciler_created" })
  /** A `stop()` is over: nothing of it is under way, and its gauges are 0. */
  | (ReconcilerPresence & { readonly type: "reconciler_stopped" })
  /** After that it works again: by `start()`, or for a pass that was asked for. */
  | (ReconcilerPresence & { readonly type: "reconciler_restarted" })
  /** An action of a pass has ended. `fenced`: a writer with a higher epoch was there, or the leadership is gone. */
  | (ReconcilerEventBase & {
      readonly type: "action_finished";
      readonly action: string;
      readonly id: string;
      readonly incarnation: number;
      readonly reason: string;
      readonly result: "done" | "failed" | "fenced";
      /** What the callback threw, for `failed`. */
      readonly error?: unknown;
      readonly epoch?: number;
    })
  | (ReconcilerEventBase & {
      readonly type: "pass_finished";
      /** From before it looked until after it had written how things stand. */
      readonly durationMs: number;
      /** How many actions were taken, and how many are held. */
      readonly actions: number;
      readonly held: number;
      readonly converged: boolean;
    })
  /**
   * The loop's work queue is done with a pass: how long that waited for its turn, and how long it took. What is told once a pass of
   * `reconcile()` is not, because that waits in no queue.
   */
  | (ReconcilerEventBase & { readonly type: "work_finished"; readonly queuedMs: number; readonly workedMs: number })
  /** The store failed; the loop tries again. */
  | (ReconcilerEventBase & { readonly type: "pass_failed"; readonly error: unknown })
  /** `MassStaleness`, `ObserveFailed`, `Converged`, … became true or false. */
  | (ReconcilerEventBase & {
      readonly type: "condition_changed";
      readonly condition: string;
      readonly status: boolean;
      readonly reason: string;
    })
  /** `observe`, `desired`, `staleness` or `surplus` threw, took too long, or answered rubbish: nothing is concluded from it. */
  | (ReconcilerEventBase & {
      readonly type: "answer_unknown";
      readonly of: "observe" | "desired" | "staleness" | "surplus";
      readonly error: unknown;
    });

/** What every event of an election says. */
export interface ElectionEventBase {
  /** Epoch milliseconds by the clock of this process. */
  readonly at: number;
  /** The name of what is led. */
  readonly election: string;
}

/**
 * Why a leadership ended.
 * - `deadline`: the leader's own deadline passed before a renewal was confirmed.
 * - `lost`, `missing`: the store said so.
 * - `stopped`: it was asked to.
 * - `failed`: `onStartedLeading` did.
 */
export type LeaderStopReason = "deadline" | "lost" | "missing" | "stopped" | "failed";

/** What a `LeaderElector` did, and what it saw. */
export type CoordinationEvent =
  /** This process leads. */
  | (ElectionEventBase & { readonly type: "leader_started"; readonly epoch: number })
  /** It does no longer; its work may still have to settle. */
  | (ElectionEventBase & { readonly type: "leader_stopped"; readonly epoch: number; readonly reason: LeaderStopReason })
  /** Another leader, or the same with another epoch, was seen: ourselves included. */
  | (ElectionEventBase & { readonly type: "leader_observed"; readonly leader: string; readonly epoch: number })
  /** The store or a callback failed. The elector goes on. */
  | (ElectionEventBase & {
      readonly type: "leader_error";
      readonly of: "store" | "onStartedLeading" | "onStoppedLeading" | "onNewLeader";
      readonly error: unknown;
    });

/** What every event of a division into shards says. */
export interface ShardEventBase {
  /** Epoch milliseconds by the clock of this process. */
  readonly at: number;
  /** The name of what is divided. */
  readonly division: string;
  /** This process. */
  readonly member: string;
}

/**
 * Why a shard is held no longer.
 * - `moved`: it is another member's now.
 * - `stopped`: the coordinator was asked to stop.
 * - `failed`: `onAssigned` did.
 * - `deadline`: our own deadline passed before a renewal was confirmed.
 * - `lost`, `missing`: the store said so.
 */
export type ShardStopReason = "moved" | "stopped" | "failed" | "deadline" | "lost" | "missing";

/** What a `ShardCoordinator` did, and what it saw. */
export type ShardEvent =
  /** Others are there than before, or with other weights. */
  | (ShardEventBase & {
      readonly type: "members_changed";
      readonly members: readonly { readonly id: string; readonly weight: number }[];
    })
  /** The shard is ours. */
  | (ShardEventBase & { readonly type: "shard_assigned"; readonly shard: number; readonly epoch: number })
  /** It is no longer, and nothing runs under it any more. */
  | (ShardEventBase & {
      readonly type: "shard_revoked";
      readonly shard: number;
      readonly epoch: number;
      readonly reason: ShardStopReason;
    })
  /** We can't take part: another process is this member, or other members divide into another number of shards. */
  | (ShardEventBase & { readonly type: "membership_refused"; readonly error: unknown })
  /** The store or a callback failed. The coordinator goes on. */
  | (ShardEventBase & {
      readonly type: "shard_error";
      readonly of: "store" | "onAssigned" | "onRevoked";
      /** Absent where it concerns none in particular. */
      readonly shard?: number;
      readonly error: unknown;
    });

/** Everything that evenkeel reports; `type` tells the kind. */
export type EvenkeelEvent =
  | ExecutionEvent
  | PurgedEvent
  | StoreSettingUnknownEvent
  | ReconcilerEvent
  | CoordinationEvent
  | ShardEvent;

/** Takes events. What it throws or rejects with changes nothing. */
export type EventListener = (event: EvenkeelEvent) => void;

/**
 * Under which the events of one attempt carry the same object, and those of others another: by key and token alone attempts of two
 * ledgers can look alike. A symbol, so that it is not in what is written down of an event; `Symbol.for`, so that a second copy of the
 * library (ESM beside CommonJS) finds it. No part of the events' types, which would differ between the two.
 */
const ATTEMPT = Symbol.for("evenkeel.attempt");

/** Marks what all events of one attempt say alike, so that {@link attemptMarkOf} tells them from those of others. */
export function markAttempt<Details extends object>(details: Details): Details {
  return { ...details, [ATTEMPT]: Object.freeze({}) };
}

/** What the events of one attempt have in common; absent in copies that went through JSON. */
export function attemptMarkOf(event: ExecutionEvent): object | undefined {
  return (event as unknown as Record<symbol, object | undefined>)[ATTEMPT];
}

/** Calls the listener so that its failures stay its own. */
export function emitTo(listener: EventListener | undefined, event: EvenkeelEvent): void {
  if (listener === undefined) return;
  try {
    dropRejection(listener(event));
  } catch {
    // Telemetry must not decide what happens to an execution.
  }
}

const PLAIN_NAME = /^[\w.-]{1,60}$/;

/**
 * What was thrown, as labels and spans may call it: the code of an error, else its name, else `_OTHER`, which is what OpenTelemetry's
 * conventions say where there is nothing better. Nothing of its message, of which nobody knows what it tells.
 */
export function errorTypeOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return "_OTHER";
    const { code, name } = thrown as Error & { readonly code?: unknown };
    const names = [code, name].filter((text): text is string => typeof text === "string" && PLAIN_NAME.test(text));
    return names[0] ?? "_OTHER";
  } catch {
    // Reading what was thrown may itself throw.
    return "_OTHER";
  }
}
