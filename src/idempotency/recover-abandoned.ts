import { type Clock, systemClock } from "../clock.ts";
import type { Codec } from "../codec.ts";
import { isEvenkeelError } from "../errors.ts";
import type { EventListener } from "../events.ts";
import { rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import type { ExecutionView, LedgerStore } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { createExecutor, type Executor } from "./execution.ts";
import type { ExecutionContext } from "./execution-context.ts";
import { type AbandonedDecision, type AbandonedExecution, executionSettings } from "./settings.ts";

/** Options of {@link recoverAbandoned}. */
export interface RecoverOptions<O> {
  readonly store: LedgerStore;
  /** Only records of this operation. Defaults to all. */
  readonly operation?: string;
  /** Says what became of an abandoned execution. */
  readonly resolver: (record: AbandonedExecution) => AbandonedDecision<O> | Promise<AbandonedDecision<O>>;
  /** How many records the resolver is asked about, at most. Defaults to 1,000. */
  readonly limit?: number;
  /** Ends the sweep between two records; what was settled stays settled. */
  readonly signal?: AbortSignal;
  /** The codec of the operation. Defaults to tagged JSON. */
  readonly codec?: Codec;
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
  /** As they were: the resolver didn't know or threw, or somebody else was quicker. Each keeps its own retention. */
  readonly left: number;
}

const SCHEMA = optionsSchema(
  {
    store: rules.store,
    operation: rules.name,
    resolver: rules.fn,
    limit: rules.count,
    signal: rules.signal,
    codec: rules.codec,
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
  const { limit = 1_000, signal, random = systemRandom } = options;
  const report = { completed: 0, retried: 0, left: 0 };
  let asked = 0;
  // Ids are hashes: beginning at a random one gives every record its turn, however many can't be settled.
  const startAt = Buffer.from(random.bytes(32)).toString("hex");
  for (const range of [{ after: startAt }, { upTo: startAt }]) {
    for await (const record of abandonedRecords(options, range)) {
      if (asked === limit) return report;
      signal?.throwIfAborted();
      asked += 1;
      report[await settle(record, options)] += 1;
    }
  }
  return report;
}

/** Those nobody has decided about, in the order of their ids. */
async function* abandonedRecords<O>(
  options: RecoverOptions<O>,
  { after: first, upTo }: { readonly after?: string; readonly upTo?: string },
): AsyncGenerator<ExecutionView> {
  const { store, operation, storeTimeoutMs = 5_000, clock = systemClock, random = systemRandom } = options;
  for (let after = first; ; ) {
    const request = {
      ...(operation === undefined ? {} : { operation }),
      ...(after === undefined ? {} : { after }),
      status: "abandoned" as const,
      limit: PAGE,
    };
    const page = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.executions.list(request, call),
    });
    for (const record of page) {
      if (upTo !== undefined && record.id > upTo) return;
      // Where a retry was granted the next caller takes over anyway: there is nothing to ask.
      if (record.status === "abandoned" && !record.retryGranted) yield record;
    }
    after = page.at(-1)?.id;
    if (page.length < PAGE) return;
  }
}

async function settle<O>(record: ExecutionView, options: RecoverOptions<O>): Promise<keyof RecoverReport> {
  const { id, scope, key = "", fingerprint, retentionMs } = record;
  let decided = false;
  const executor: Executor<O> = createExecutor<O>({
    ...executionSettings<O>({
      ...options,
      retentionMs,
      onAbandoned: async (abandoned) => {
        const decision = await options.resolver(abandoned);
        decided = true;
        return decision;
      },
    }),
    // A count of what is durable: neither a value that could not be stored nor the outcome of somebody quicker.
    onCompleteFailure: "throw",
    onLeaseLost: "throw",
    onError: "retry",
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
