export { type Clock, systemClock, type Timer } from "./clock.ts";
export { type Codec, taggedJson } from "./codec.ts";
export { EvenkeelError, type EvenkeelErrorCode, isEvenkeelError } from "./errors.ts";
export type {
  EvenkeelEvent,
  EventListener,
  ExecutionEvent,
  LeaseLossReason,
  PurgedEvent,
  StoreSettingUnknownEvent,
} from "./events.ts";
export type { IdempotentResult } from "./idempotency/execution-call.ts";
export type { ExecutionContext } from "./idempotency/execution-context.ts";
export { type PurgeOptions, purgeExpired } from "./idempotency/purge-expired.ts";
export { type RecoverOptions, type RecoverReport, recoverAbandoned } from "./idempotency/recover-abandoned.ts";
export type { AbandonedDecision, AbandonedExecution, IdempotencyOptions } from "./idempotency/settings.ts";
export { type CallOptions, type IdempotentFunction, withIdempotency } from "./idempotency/with-idempotency.ts";
export { type Random, systemRandom } from "./random.ts";
export type * from "./store.ts";
