import type { Clock } from "../../src/clock.ts";
import type { StoreCall } from "../../src/store.ts";
import { BUCKETS } from "./redis-keys.ts";

/** How many buckets are asked at a time: one round trip of a pipeline. */
export const BUCKETS_AT_ONCE = 128;

/** Asks buckets from `first` on, as many at a time as `width` says, until it says 0. All of it has the time of one call. */
export async function eachWindow(
  clock: Clock,
  first: number,
  { timeoutMs }: StoreCall,
  width: (visited: number) => number,
  ask: (buckets: readonly number[], call: StoreCall) => Promise<void>,
): Promise<void> {
  const deadline = clock.monotonic() + timeoutMs;
  for (let bucket = first; bucket < BUCKETS; ) {
    const count = Math.min(width(bucket - first), BUCKETS_AT_ONCE, BUCKETS - bucket);
    if (count <= 0) return;
    const from = bucket;
    const buckets = Array.from({ length: count }, (_, index) => from + index);
    await ask(buckets, { timeoutMs: Math.max(1, deadline - clock.monotonic()) });
    bucket += count;
  }
}
