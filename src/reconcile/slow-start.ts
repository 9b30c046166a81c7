export interface SlowStart<T> {
  readonly items: readonly T[];
  /** The largest batch. */
  readonly most: number;
  /** Whether it went well. Must not reject. */
  readonly run: (item: T) => Promise<"succeeded" | "failed">;
}

/**
 * Runs items in their order in batches of 1, 2, 4, … up to `most`. A failure ends it after its batch, so that where everything
 * fails little is tried: Kubernetes' `slowStartBatch` (pkg/controller/replicaset).
 *
 * @returns the items that were not begun.
 */
export async function slowStart<T>({ items, most, run }: SlowStart<T>): Promise<readonly T[]> {
  let begun = 0;
  for (let size = 1; begun < items.length; size = Math.min(size * 2, most)) {
    const batch = items.slice(begun, begun + size);
    begun += batch.length;
    const results = await Promise.all(batch.map(run));
    if (results.includes("failed")) break;
  }
  return items.slice(begun);
}
