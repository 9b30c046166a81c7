import { invalidOptions } from "../option-rules.ts";
import type { Random } from "../random.ts";

/** Rounds after which every bit of the seed has reached every bit of the state. */
const WARM_UP = 12;

/**
 * Chance that repeats: the same seed gives the same sequence on every machine. For tests and simulations only; whoever
 * knows a little of the sequence knows the rest of it.
 *
 * sfc32, the "small fast counting" generator of Chris Doty-Humphrey's PractRand (2014): 128 bits of state, a period of at
 * least 2^32. Floats carry 53 bits.
 *
 * @param seed - a safe integer.
 * @throws EvenkeelError `INVALID_OPTIONS` for any other seed.
 * @example
 * ```ts
 * const random = seededRandom(42);
 * withIdempotency(chargeCard, { store, operation: "charge", random });
 * ```
 */
export function seededRandom(seed: number): Random {
  if (!Number.isSafeInteger(seed)) throw invalidOptions("seededRandom", "seed must be a safe integer");
  let a = 0;
  let b = seed | 0;
  let c = Math.floor(seed / 2 ** 32) | 0;
  let counter = 1;

  /** 32 bits. */
  function next(): number {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  }

  for (let round = 0; round < WARM_UP; round += 1) next();

  return Object.freeze({
    bytes(length: number) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; at += 4) {
        const word = next();
        for (let offset = 0; offset < 4 && at + offset < length; offset += 1)
          bytes[at + offset] = word >>> (8 * offset);
      }
      return bytes;
    },
    float: () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53,
  });
}
