export { type Clock, systemClock, type Timer } from "./clock.ts";
export { type Codec, taggedJson } from "./codec.ts";
export type { ShardWork } from "./coordination/held-shard.ts";
export { jumpHash } from "./coordination/jump-hash.ts";
export { LeaderElector } from "./coordination/leader-elector.ts";
export type { LeaderElectorOptions } from "./coordination/leader-settings.ts";
export { type RendezvousMember, rendezvous, rendezvousRank } from "./coordination/rendezvous.ts";
export { ShardCoordinator } from "./coordination/shard-coordinator.ts";
export type { ShardCoordinatorOptions } from "./coordination/shard-settings.ts";
export { EvenkeelError, type EvenkeelErrorCode, isEvenkeelError } from "./errors.ts";
export type {
  AttemptBegunBase,
  AttemptEventBase,
  CoordinationEvent,
  ElectionEventBase,
  EndedAttempt,
  EvenkeelEvent,
  EventListener,
  ExecutionEvent,
  ExecutionEventBase,
  LeaderStopReason,
  LeaseLossReason,
  PurgedEvent,
  ReconcilerEvent,
  ReconcilerEventBase,
  ReconcilerPresence,
  ShardEvent,
  ShardEventBase,
  ShardStopReason,
  StoreSettingUnknownEvent,
} from "./events.ts";
export type { IdempotentResult } from "./idempotency/execution-call.ts";
export type { ExecutionContext } from "./idempotency/execution-context.ts";
export { type PurgeOptions, purgeExpired } from "./idempotency/purge-expired.ts";
export { type RecoverOptions, type RecoverReport, recoverAbandoned } from "./idempotency/recover-abandoned.ts";
export type { AbandonedDecision, AbandonedExecution, IdempotencyOptions } from "./idempotency/settings.ts";
export { type CallOptions, type IdempotentFunction, withIdempotency } from "./idempotency/with-idempotency.ts";
export type { HistogramBucket, HistogramSample, MetricSample, NumberSample } from "./metric-sample.ts";
export { type Random, systemRandom } from "./random.ts";
export type { MaxUnavailable } from "./reconcile/disruption-budget.ts";
export type { MassGuardOptions } from "./reconcile/mass-guard.ts";
export { type MissedBeatsOptions, missedBeats } from "./reconcile/missed-beats.ts";
export type { Desired, Observation, ObservedResource, PassContext } from "./reconcile/observation.ts";
export { type PhiAccrualOptions, phiAccrual } from "./reconcile/phi-accrual.ts";
export type {
  ActionType,
  Condition,
  Explanation,
  FinishedAction,
  HeldAction,
  HeldBy,
  LastPass,
  PassReport,
  Plan,
  PlannedAction,
} from "./reconcile/planned.ts";
export { Reconciler } from "./reconcile/reconciler.ts";
export type { ReconcilerStatus } from "./reconcile/reconciler-status.ts";
export type { LeaderGate, ReconcilerOptions, ShardGate } from "./reconcile/settings.ts";
export {
  type Assessment,
  type FixedThresholdOptions,
  fixedThreshold,
  type HeartbeatHistory,
  type StalenessPolicy,
} from "./reconcile/staleness.ts";
export type { SurplusCandidate, SurplusOrder } from "./reconcile/surplus.ts";
export { WorkQueue } from "./reconcile/work-queue.ts";
export type { WorkDurations, WorkQueueAddOptions, WorkQueueOptions } from "./reconcile/work-queue-options.ts";
export { NotFound, RetryAfter, TerminalError } from "./resources/action-errors.ts";
export type { Provisioned, ProvisionOptions } from "./resources/provision.ts";
export type { ActionContext, CreateResult, DesiredResource, ResourceRecord } from "./resources/resource.ts";
export { type ResourceFilter, ResourceLedger, type ResourceLedgerOptions } from "./resources/resource-ledger.ts";
export type * from "./store.ts";
