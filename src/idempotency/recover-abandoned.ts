import { type Clock, systemClock } from "../clock.ts";
import { isEvenkeelError } from "../errors.ts";
import type { EventListener } from "../events.ts";
import { rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import type { ExecutionView, LedgerStore } from "../store.ts";
import type { Codec } from "./codec.ts";
import { createExecutor, type Executor } from "./execution.ts";
import type { ExecutionContext } from "./execution-context.ts";
import { type AbandonedDecision, type AbandonedExecution, executionSettings } from "./settings.ts";
import { storeOperation } from "./store-operation.ts";

/** Options of {@link recoverAbandoned}. */
export interface RecoverOptions<O> {
  readonly store: LedgerStore;
  /** Only records of this operation. Defaults to all. */
  readonly operation?: string;
  /** Says what became of an abandoned execution. */
  readonly resolver: (record: AbandonedExecution) => AbandonedDecision<O> | Promise<AbandonedDecision<O>>;
  /** How many records are looked at, at most. Defaults to 1,000. */
  readonly limit?: number;
  /** Ends the sweep between two records; what was settled stays settled. */
  readonly signal?: AbortSignal;
  /** The codec of the operation. Defaults to tagged JSON. */
  readonly codec?: Codec;
  /** How long a resolved outcome is kept, in milliseconds. Defaults to 86,400,000 (a day). */
  readonly retentionMs?: number;
  /** The lease under which the resolver is asked, renewed while it thinks, in milliseconds. Defaults to 30,000. */
  readonly leaseMs?: number;
  /** One store operation, in milliseconds. Defaults to 5,000. */
  readonly storeTimeoutMs?: number;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock;
  /** Defaults to the machine's randomness. */
  readonly random?: Random;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener;
}

/** What a sweep did. */
export interface RecoverReport {
  /** Got the outcome that the resolver knew. */
  readonly completed: number;
  /** Released to their next caller, with their steps. */
  readonly retried: number;
  /** As they were: the resolver didn't know or threw, or somebody else was quicker. */
  readonly left: number;
}

const SCHEMA = optionsSchema(
  {
    store: rules.store,
    operation: rules.name,
    resolver: rules.fn,
    limit: rules.count,
    signal: rules.custom("an AbortSignal", (value) => value instanceof AbortSignal),
    codec: rules.codec,
    retentionMs: rules.durationMs,
    leaseMs: rules.durationMs,
    storeTimeoutMs: rules.durationMs,
    clock: rules.clock,
    random: rules.random,
    onEvent: rules.fn,
  },
  ["store", "resolver"],
);

/** How many records are listed at a time. */
const PAGE = 100;

/** Thrown in place of a run: the resolver said that the next caller shall run it. */
const RETRY = Symbol("retry");
/** Thrown in place of a run: the record was gone by the time it was claimed. */
const GONE = Symbol("gone");

/**
 * Sweeps the records whose holder fell silent and asks the resolver about each, one winner a record however many sweep. For
 * a cron or a Reconciler, so that abandoned work is settled even if nobody asks for its key again.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, `STORE_UNAVAILABLE`; or the signal's reason.
 */
export async function recoverAbandoned<O>(options: RecoverOptions<O>): Promise<RecoverReport> {
  parseOptions("recoverAbandoned", SCHEMA, options);
  const { store, operation, limit = 1_000, signal, storeTimeoutMs = 5_000 } = options;
  const { clock = systemClock, random = systemRandom } = options;
  const report = { completed: 0, retried: 0, left: 0 };
  let seen = 0;
  let after: string | undefined;
  while (seen < limit) {
    const request = {
      ...(operation === undefined ? {} : { operation }),
      ...(after === undefined ? {} : { after }),
      status: "abandoned" as const,
      limit: Math.min(PAGE, limit - seen),
    };
    const page = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.executions.list(request, call),
    });
    for (const record of page) {
      signal?.throwIfAborted();
      report[await settle(record, options)] += 1;
    }
    seen += page.length;
    after = page.at(-1)?.id;
    if (page.length < request.limit) break;
  }
  return report;
}

async function settle<O>(record: ExecutionView, options: RecoverOptions<O>): Promise<keyof RecoverReport> {
  // Its next caller takes over anyway: there is nothing to ask.
  if (record.status !== "abandoned" || record.retryGranted) return "left";
  const { id, scope, key = "", fingerprint } = record;
  let decided = false;
  const executor: Executor<O> = createExecutor<O>({
    ...executionSettings<O>({
      ...options,
      onAbandoned: async (abandoned) => {
        const decision = await options.resolver(abandoned);
        decided = true;
        return decision;
      },
    }),
    onError: (error) => (error === RETRY ? "retry" : "release"),
  });
  try {
    const run = (ctx: ExecutionContext): never => {
      throw ctx.attempt === 1 ? GONE : RETRY;
    };
    await executor.execute({ id, operation: record.operation, scope, key, fingerprint, run });
    return decided ? "completed" : "left";
  } catch (error) {
    if (error === RETRY) return decided ? "retried" : "left";
    if (error === GONE || (isEvenkeelError(error) && error.code !== "STORE_UNAVAILABLE")) return "left";
    throw error;
  }
}
