import { fnv1a64, highOf, type Uint64 } from "./uint64.ts";

const TWO_31 = 2 ** 31;
/** 2862933555777941757, in halves. */
const MULTIPLIER: Uint64 = { high: 0x27bb2ee6, low: 0x87b0b0fd };

/**
 * The bucket of a key: spread evenly, and when buckets are added at the end only those keys move that move there.
 *
 * Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (arXiv:1406.2294). A text is hashed first: FNV-1a with 64
 * bits over its UTF-8. Of a bigint the lowest 64 bits count.
 *
 * @returns a whole number from 0 to `buckets` - 1.
 * @throws RangeError unless `buckets` is a positive whole number; TypeError for a key that is neither a text nor a bigint.
 * @example
 * ```ts
 * const shard = jumpHash("tenant-17", 256);
 * ```
 */
export function jumpHash(key: bigint | string, buckets: number): number {
  if (!Number.isSafeInteger(buckets) || buckets < 1)
    throw new RangeError("jumpHash: buckets must be a positive whole number.");
  if (typeof key !== "string" && typeof key !== "bigint")
    throw new TypeError("jumpHash: the key must be a text or a bigint.");
  let { high, low } = typeof key === "string" ? fnv1a64(key) : halvesOf(key);
  let bucket = -1;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    // key = key * 2862933555777941757 + 1, in 64 bits.
    high = (highOf(low, MULTIPLIER.low) + Math.imul(high, MULTIPLIER.low) + Math.imul(low, MULTIPLIER.high)) >>> 0;
    low = (Math.imul(low, MULTIPLIER.low) + 1) >>> 0;
    if (low === 0) high = (high + 1) >>> 0;
    // key >> 33 is the upper half without its last bit. In this order, as doubles: another one rounds otherwise.
    next = Math.floor((bucket + 1) * (TWO_31 / ((high >>> 1) + 1)));
  }
  return bucket;
}

function halvesOf(key: bigint): Uint64 {
  const bits = BigInt.asUintN(64, key);
  return { high: Number(bits >> 32n), low: Number(bits & 0xffffffffn) };
}
