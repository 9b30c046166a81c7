import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import type { ExecutionStore } from "../store.ts";
import { storeOperation } from "../store-operation.ts";

/** What a purge in batches needs. */
export interface BatchedPurge {
  readonly executions: ExecutionStore;
  /** How many records one store call deletes at most. */
  readonly batchSize: number;
  readonly clock: Clock;
  readonly random: Random;
  /** One store call, in milliseconds. */
  readonly budgetMs: number;
}

/**
 * Deletes expired records batch by batch, and yields how many each was. A batch that is not full is not yet the end: a store whose
 * time is over tells of what it has deleted by then. What is left is counted once, so that what expires meanwhile does not keep
 * this going for ever.
 *
 * @throws EvenkeelError `STORE_UNAVAILABLE`.
 */
export async function* purgeInBatches({ executions, batchSize, ...terms }: BatchedPurge): AsyncGenerator<number, void> {
  let left: number | undefined;
  for (;;) {
    const { purged } = await storeOperation({
      ...terms,
      silence: "wait",
      send: (call) => executions.purge({ limit: batchSize }, call),
    });
    if (purged === 0) return;
    yield purged;
    if (left !== undefined) left -= purged;
    if (purged >= batchSize) continue;
    left ??= (await storeOperation({ ...terms, send: (call) => executions.countExpired(call) })).count;
    if (left <= 0) return;
  }
}
