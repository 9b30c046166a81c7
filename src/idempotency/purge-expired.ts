import { type Clock, systemClock } from "../clock.ts";
import { type EventListener, emitTo } from "../events.ts";
import { rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { systemRandom } from "../random.ts";
import type { LedgerStore } from "../store.ts";
import { purgeInBatches } from "./purge-in-batches.ts";

/** Options of {@link purgeExpired}. */
export interface PurgeOptions {
  readonly store: LedgerStore;
  /** How many records one store call deletes at most. Defaults to 1,000. */
  readonly batchSize?: number;
  /** Ends the purge between two batches; what was deleted stays deleted. */
  readonly signal?: AbortSignal;
  /** One store call, in milliseconds. Defaults to 5,000. */
  readonly storeTimeoutMs?: number;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock;
  /** Gets a `purged` event a batch. Defaults to none. */
  readonly onEvent?: EventListener;
}

const SCHEMA = optionsSchema(
  {
    store: rules.store,
    batchSize: rules.count,
    signal: rules.signal,
    storeTimeoutMs: rules.durationMs,
    clock: rules.clock,
    onEvent: rules.fn,
  },
  ["store"],
);

/**
 * Deletes every expired record, in batches. Expired records count as absent whether deleted or not; this gives their room
 * back, and stores do some of it by themselves as they grow.
 *
 * @returns how many were deleted.
 * @throws EvenkeelError `INVALID_OPTIONS`, `STORE_UNAVAILABLE`; or the signal's reason.
 */
export async function purgeExpired(options: PurgeOptions): Promise<{ purged: number }> {
  parseOptions("purgeExpired", SCHEMA, options);
  const { store, batchSize = 1_000, signal, storeTimeoutMs = 5_000, clock = systemClock, onEvent } = options;
  let total = 0;
  signal?.throwIfAborted();
  const { executions } = store;
  const purge = { executions, batchSize, clock, random: systemRandom, budgetMs: storeTimeoutMs };
  for await (const purged of purgeInBatches(purge)) {
    total += purged;
    emitTo(onEvent, { type: "purged", at: clock.now(), count: purged });
    signal?.throwIfAborted();
  }
  return { purged: total };
}
