import type { Clock } from "../../src/clock.ts";
import { compareRecency } from "../../src/execution-record.ts";
import type { StoreCall } from "../../src/store.ts";
import { BUCKETS_AT_ONCE, eachWindow } from "./redis-buckets.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { EXECUTION_READS } from "./redis-execution-reads.ts";
import { BUCKETS, type RedisKeys } from "./redis-keys.ts";
import { text, whole } from "./redis-rows.ts";

/** Of so many times as many as are wanted, those that expire last, the ones that were created last are told. */
const CANDIDATES = 4;

export interface RecencyOptions {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly clock: Clock;
}

interface Candidate {
  readonly id: string;
  readonly expiresAt: number;
  readonly createdAt: number;
}

/**
 * The ids of the records that were created last, newest first, and of a few more. There is no index by creation, which every claim
 * would have to keep: it is read off the one by expiry, where those that were created last are the last where all have one retention.
 *
 * Ids are spread evenly over the buckets, so a few of each bucket are as a rule enough to know the last ones of all; a bucket whose
 * few are all among these is asked for more.
 */
export async function latestIds(
  { connection, keys, clock }: RecencyOptions,
  { limit, operation }: { readonly limit: number; readonly operation: string },
  call: StoreCall,
): Promise<string[]> {
  const deadline = clock.monotonic() + call.timeoutMs;
  const wanted = limit * CANDIDATES;
  const few = Math.min(wanted, 4 + Math.ceil((2 * wanted) / BUCKETS));
  const byBucket = new Map<number, readonly Candidate[]>();

  async function ask(buckets: readonly number[], count: number, bounds: StoreCall): Promise<void> {
    const args = [String(count), operation];
    const asked = buckets.map(async (bucket) => {
      const reply = await connection.run(EXECUTION_READS.latest, { keys: [keys.index(bucket)], args }, bounds);
      byBucket.set(bucket, candidatesIn(reply));
    });
    await Promise.all(asked);
  }

  const last = (): Candidate[] => {
    const all = [...byBucket.values()].flat();
    return all.sort((a, b) => b.expiresAt - a.expiresAt || compareRecency(a, b)).slice(0, wanted);
  };

  await eachWindow(
    clock,
    0,
    call,
    () => BUCKETS_AT_ONCE,
    (buckets, bounds) => ask(buckets, few, bounds),
  );
  const first = last();
  const bound = first.length < wanted ? 0 : (first.at(-1)?.expiresAt ?? 0);
  const cut = [...byBucket].filter(([, found]) => found.length === few && (found.at(-1)?.expiresAt ?? 0) >= bound);
  for (let at = 0; few < wanted && at < cut.length; at += BUCKETS_AT_ONCE) {
    const buckets = cut.slice(at, at + BUCKETS_AT_ONCE).map(([bucket]) => bucket);
    await ask(buckets, wanted, { timeoutMs: Math.max(1, deadline - clock.monotonic()) });
  }
  return last()
    .sort(compareRecency)
    .map(({ id }) => id);
}

/** The answer of `LATEST`: threes. */
function candidatesIn(reply: readonly unknown[]): Candidate[] {
  const candidates: Candidate[] = [];
  for (let at = 0; at + 2 < reply.length; at += 3) {
    const [id, expiresAt, createdAt] = reply.slice(at, at + 3);
    candidates.push({ id: text(id), expiresAt: Number(text(expiresAt)), createdAt: whole(createdAt) });
  }
  return candidates;
}
