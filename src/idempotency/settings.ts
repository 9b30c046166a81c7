import { type Clock, systemClock } from "../clock.ts";
import { type Codec, taggedJson } from "../codec.ts";
import type { EventListener } from "../events.ts";
import { type OptionRules, rules } from "../option-rules.ts";
import { type Random, systemRandom } from "../random.ts";
import { dropRejection } from "../rejections.ts";
import type { LedgerStore } from "../store.ts";

/** An attempt whose holder fell silent, as a resolver sees it. */
export interface AbandonedExecution {
  readonly operation: string;
  readonly scope: string;
  /** The user's own key; empty where the store was made with `storeKeys: false` and nobody present knows it. */
  readonly key: string;
  readonly attempt: number;
  /** The finished steps in their order. The value of a step that could not be stored is undefined. */
  readonly steps: { readonly name: string; readonly value: unknown }[];
  /** Epoch milliseconds by the store's clock. */
  readonly leaseExpiredAt: number;
}

/**
 * What became of an abandoned execution: it `completed` with this value, it may run again (`"retry"`), or nobody knows
 * (`"unknown"`: the caller gets `ABANDONED` and the record stays; so it does where the answer is none of these, or a promise in place of
 * the value).
 */
export type AbandonedDecision<O> = { readonly completed: O } | "retry" | "unknown";

/** How an executor behaves: the options that every way in (functions, HTTP) shares. */
export interface ExecutionOptions<O> {
  /** The ledger. */
  readonly store: LedgerStore;
  /** How long a claim lasts without renewal, in milliseconds; renewed every third of it. Defaults to 30,000. */
  readonly leaseMs?: number;
  /** How long an outcome is kept and replayed, in milliseconds from its completion. Defaults to 86,400,000 (a day). */
  readonly retentionMs?: number;
  /** What a duplicate gets while the first still runs: `IN_PROGRESS` at once, or the outcome. Defaults to `"reject"`. */
  readonly inFlight?: "reject" | "wait";
  /** How long a duplicate waits with `inFlight: "wait"`, in milliseconds. Defaults to 10,000. */
  readonly maxWaitMs?: number;
  /** How many may wait on this store in this process; one more is `TOO_MANY_WAITERS`. Defaults to 1,000. */
  readonly maxWaiters?: number;
  /** What a thrown error does: free the key, or be stored and thrown again to retries. Defaults to `"release"`. */
  readonly onError?: "release" | "store" | ((error: unknown) => "release" | "store");
  /** What happens to a record whose holder fell silent. Defaults to `"takeover"`. */
  readonly onAbandoned?:
    | "takeover"
    | "reject"
    | ((record: AbandonedExecution) => AbandonedDecision<O> | Promise<AbandonedDecision<O>>);
  /** What a stale attempt answers: the winner's outcome, its own, or `LEASE_LOST`. Defaults to `"adopt"`. */
  readonly onLeaseLost?: "adopt" | "own" | "throw";
  /** What the caller gets when its outcome could not be made durable: the value, or an error. Defaults to `"return"`. */
  readonly onCompleteFailure?: "return" | "throw";
  /** What happens when the store fails: `STORE_UNAVAILABLE`, or a run without protection. Defaults to `"closed"`. */
  readonly onStoreError?: "closed" | "open";
  /** How long one store operation may take, its repetitions included, in milliseconds. Defaults to 5,000. */
  readonly storeTimeoutMs?: number;
  /** How outcomes become bytes. Defaults to tagged JSON. */
  readonly codec?: Codec;
  /** Larger outcomes are not stored; a retry gets `RESULT_NOT_REPLAYABLE`. Defaults to 1,048,576. */
  readonly maxResultBytes?: number;
  /** Completed records kept in this process, so that their replay asks no store. Defaults to none. */
  readonly cache?: { readonly maxEntries: number };
  /** Defaults to the machine's clock. */
  readonly clock?: Clock;
  /** Defaults to the machine's randomness. */
  readonly random?: Random;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener;
}

/** The options of a wrapped function. */
export interface IdempotencyOptions<I, O> extends ExecutionOptions<O> {
  /** Stable name of what is done; part of the record's identity. */
  readonly operation: string;
  /** Whose key it is (a tenant, an account). Defaults to `""`. */
  readonly scope?: string | ((input: I) => string);
  /** The idempotency key of an input; `CallOptions.key` wins over it. Without either: `KEY_MISSING`. */
  readonly key?: (input: I) => string | Promise<string>;
  /** What of the input has to be equal in a retry; `false` compares nothing. Defaults to the whole input. */
  readonly fingerprint?: false | ((input: I) => unknown);
}

/**
 * What becomes of the record when the function throws. Users have the first two; inside the library `retry` says that nothing ran: the
 * record and its steps are for the next caller, as one who may run.
 */
export type ErrorDisposition = "release" | "store" | "retry";

/** {@link ExecutionOptions} with every default in place. */
export type ExecutionSettings<O> = Readonly<
  Required<Omit<ExecutionOptions<O>, "cache" | "onEvent" | "onError">> & {
    cacheEntries: number;
    onEvent: EventListener | undefined;
    onError: ErrorDisposition | ((error: unknown) => ErrorDisposition);
  }
>;

/** The rules of {@link ExecutionOptions}. */
export const EXECUTION_RULES: OptionRules = {
  store: rules.store,
  leaseMs: rules.durationMs,
  retentionMs: rules.durationMs,
  inFlight: rules.oneOf("reject", "wait"),
  maxWaitMs: rules.durationMs,
  maxWaiters: rules.count,
  onError: rules.either(rules.oneOf("release", "store"), rules.fn),
  onAbandoned: rules.either(rules.oneOf("takeover", "reject"), rules.fn),
  onLeaseLost: rules.oneOf("adopt", "own", "throw"),
  onCompleteFailure: rules.oneOf("return", "throw"),
  onStoreError: rules.oneOf("closed", "open"),
  storeTimeoutMs: rules.durationMs,
  codec: rules.codec,
  maxResultBytes: rules.byteCount,
  cache: rules.custom("{ maxEntries } with a positive whole number", (value) => {
    if (typeof value !== "object" || value === null) return false;
    const { maxEntries, ...rest } = value as { maxEntries?: unknown };
    return rules.count.test(maxEntries) && Object.keys(rest).length === 0;
  }),
  clock: rules.clock,
  random: rules.random,
  onEvent: rules.fn,
};

/** The rules of {@link IdempotencyOptions}. */
export const IDEMPOTENCY_RULES: OptionRules = {
  ...EXECUTION_RULES,
  operation: rules.name,
  scope: rules.either(rules.scope, rules.fn),
  key: rules.fn,
  fingerprint: rules.either(
    rules.custom("false", (value) => value === false),
    rules.fn,
  ),
};

/** Holds a user's function to the user's words: whatever else it answers releases. */
function dispositionBy(onError: NonNullable<ExecutionOptions<never>["onError"]>): ExecutionSettings<never>["onError"] {
  if (typeof onError !== "function") return onError;
  return (error) => {
    const answer: unknown = onError(error);
    // Nobody waits for a promise; its rejection must not end the process.
    dropRejection(answer);
    return answer === "store" ? "store" : "release";
  };
}

/** Fills the defaults in. The options have been accepted by then. */
export function executionSettings<O>(options: ExecutionOptions<O>): ExecutionSettings<O> {
  return Object.freeze({
    store: options.store,
    leaseMs: options.leaseMs ?? 30_000,
    retentionMs: options.retentionMs ?? 86_400_000,
    inFlight: options.inFlight ?? "reject",
    maxWaitMs: options.maxWaitMs ?? 10_000,
    maxWaiters: options.maxWaiters ?? 1_000,
    onError: dispositionBy(options.onError ?? "release"),
    onAbandoned: options.onAbandoned ?? "takeover",
    onLeaseLost: options.onLeaseLost ?? "adopt",
    onCompleteFailure: options.onCompleteFailure ?? "return",
    onStoreError: options.onStoreError ?? "closed",
    storeTimeoutMs: options.storeTimeoutMs ?? 5_000,
    codec: options.codec ?? taggedJson,
    maxResultBytes: options.maxResultBytes ?? 1_048_576,
    cacheEntries: options.cache?.maxEntries ?? 0,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    onEvent: options.onEvent,
  });
}
