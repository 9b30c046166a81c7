import { acceptOptions, invalidOptions, rules } from "../option-rules.ts";
import { type Random, systemRandom } from "../random.ts";

/** Options of {@link Backoff}. */
export interface BackoffOptions {
  /** The bound of the first delay, in milliseconds. Defaults to 100, or to `maxDelayMs` where that is less. */
  readonly baseDelayMs?: number | undefined;
  /** The bound of every delay, in milliseconds. Defaults to 300,000. */
  readonly maxDelayMs?: number | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
}

/** What the options of {@link Backoff} must be. */
export const BACKOFF_RULES = {
  baseDelayMs: rules.durationMs,
  maxDelayMs: rules.durationMs,
  random: rules.random,
} as const;

/** 1 ms doubled this often is over every delay that is allowed, and a whole number still. */
const MOST_DOUBLINGS = 53;

/**
 * How long to wait before a key is tried again: a random time under `baseDelayMs` × 2^n, where n is how often it failed
 * since it was last forgotten, and never over `maxDelayMs`.
 *
 * Full jitter, by Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): of the ways to spread
 * retries it needs the least work until all are through. Two delays of one key may therefore shrink, and may be near 0.
 *
 * Keys are compared as a `Map` does. A key takes memory until it is forgotten.
 */
export class Backoff<Key> {
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #random: Random;
  readonly #retries = new Map<Key, number>();

  /**
   * @param owner - whom an error names.
   * @throws EvenkeelError `INVALID_OPTIONS`.
   */
  constructor(options: BackoffOptions = {}, owner = "Backoff") {
    acceptOptions(owner, BACKOFF_RULES, options);
    const { maxDelayMs = 300_000, random = systemRandom } = options;
    const { baseDelayMs = Math.min(100, maxDelayMs) } = options;
    if (baseDelayMs > maxDelayMs) throw invalidOptions(owner, "baseDelayMs must not be over maxDelayMs");
    this.#baseDelayMs = baseDelayMs;
    this.#maxDelayMs = maxDelayMs;
    this.#random = random;
  }

  /** Counts one more failure of the key. Returns milliseconds to wait, not always whole ones. */
  next(key: Key): number {
    const failures = this.retries(key);
    this.#retries.set(key, failures + 1);
    const bound = Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** Math.min(failures, MOST_DOUBLINGS));
    return this.#random.float() * bound;
  }

  /** After a success: the next failure is the first again. */
  forget(key: Key): void {
    this.#retries.delete(key);
  }

  /** How often {@link next} was asked about the key since it was last forgotten. */
  retries(key: Key): number {
    return this.#retries.get(key) ?? 0;
  }
}
