import type { Clock } from "../../src/clock.ts";
import { compareRecency } from "../../src/execution-record.ts";
import type { StoreCall } from "../../src/store.ts";
import { BUCKETS_AT_ONCE, eachWindow } from "./redis-buckets.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { EXECUTION_READS } from "./redis-execution-reads.ts";
import { BUCKETS, bucketOf, type RedisKeys } from "./redis-keys.ts";
import { text, whole } from "./redis-rows.ts";

/** Of so many times as many as are asked for, those that expire last, the ones that were created last are told. */
const CANDIDATES = 4;
/** Where most are gone, or of another operation, more are looked at, up to so many. */
const MOST_CANDIDATES = 10_000;

export interface RecencyOptions {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly clock: Clock;
}

export interface RecencyRequest {
  readonly limit: number;
  /** The name of one operation behind `=`, or nothing. */
  readonly operation: string;
}

interface Candidate {
  readonly id: string;
  readonly expiresAt: number;
}

/**
 * The ids of the records that were created last, newest first, and of a few more. There is no index by creation, which every claim
 * would have to keep: it is read off the one by expiry, where those that were created last are the last where all have one retention.
 */
export async function latestIds(
  options: RecencyOptions,
  { limit, operation }: RecencyRequest,
  { timeoutMs }: StoreCall,
): Promise<string[]> {
  const { clock } = options;
  const deadline = clock.monotonic() + timeoutMs;
  const left = (): StoreCall => ({ timeoutMs: Math.max(1, deadline - clock.monotonic()) });
  const seen = new Map<string, number | undefined>();
  for (let wanted = limit * CANDIDATES; ; wanted = Math.min(4 * wanted, MOST_CANDIDATES)) {
    const candidates = await expiringLast(options, wanted, left);
    const unseen = candidates.map(({ id }) => id).filter((id) => !seen.has(id));
    for (const [id, createdAt] of await createdAts(options, unseen, operation, left())) seen.set(id, createdAt);
    const found = candidates.flatMap(({ id }) => {
      const createdAt = seen.get(id);
      return createdAt === undefined ? [] : [{ id, createdAt }];
    });
    if (found.length < limit && candidates.length === wanted && wanted < MOST_CANDIDATES) continue;
    return found.sort(compareRecency).map(({ id }) => id);
  }
}

/**
 * Of all buckets those that expire last. Ids are spread evenly over the buckets, so a few of each are as a rule enough to know the
 * last ones of all; a bucket whose few are all among these is asked for more.
 */
async function expiringLast(
  { connection, keys, clock }: RecencyOptions,
  wanted: number,
  left: () => StoreCall,
): Promise<Candidate[]> {
  const few = Math.min(wanted, 4 + Math.ceil((2 * wanted) / BUCKETS));
  const byBucket = new Map<number, readonly Candidate[]>();

  async function ask(buckets: readonly number[], count: number, call: StoreCall): Promise<void> {
    const asked = buckets.map(async (bucket) => {
      const asking = { keys: [keys.index(bucket)] as const, args: [String(count)] };
      byBucket.set(bucket, candidatesIn(await connection.run(EXECUTION_READS.latest, asking, call)));
    });
    await Promise.all(asked);
  }

  const last = (): Candidate[] =>
    [...byBucket.values()]
      .flat()
      .sort((a, b) => b.expiresAt - a.expiresAt || (a.id < b.id ? -1 : 1))
      .slice(0, wanted);

  await eachWindow(
    clock,
    0,
    left(),
    () => BUCKETS_AT_ONCE,
    (buckets, call) => ask(buckets, few, call),
  );
  const bound = last()[wanted - 1]?.expiresAt ?? 0;
  const cut = [...byBucket].filter(([, found]) => found.length === few && (found.at(-1)?.expiresAt ?? 0) >= bound);
  for (let at = 0; few < wanted && at < cut.length; at += BUCKETS_AT_ONCE) {
    const buckets = cut.slice(at, at + BUCKETS_AT_ONCE).map(([bucket]) => bucket);
    await ask(buckets, wanted, left());
  }
  return last();
}

/** When each was created; nothing for what has gone, can't be read, or is of another operation. */
async function createdAts(
  { connection, keys }: RecencyOptions,
  ids: readonly string[],
  operation: string,
  call: StoreCall,
): Promise<[string, number | undefined][]> {
  const byBucket = new Map<number, string[]>();
  for (const id of ids) {
    const own = byBucket.get(bucketOf(id)) ?? [];
    byBucket.set(bucketOf(id), own);
    own.push(id);
  }
  const asked = [...byBucket].map(async ([bucket, own]) => {
    const asking = { keys: [keys.index(bucket)] as const, args: [operation, ...own] };
    const moments = await connection.run(EXECUTION_READS.created, asking, call);
    return own.map((id, index): [string, number | undefined] => {
      const moment = text(moments[index]);
      return [id, moment === "" ? undefined : whole(moment)];
    });
  });
  return (await Promise.all(asked)).flat();
}

/** The answer of `LATEST`: pairs. */
function candidatesIn(reply: readonly unknown[]): Candidate[] {
  const candidates: Candidate[] = [];
  for (let at = 0; at + 1 < reply.length; at += 2) {
    candidates.push({ id: text(reply[at]), expiresAt: Number(text(reply[at + 1])) });
  }
  return candidates;
}
