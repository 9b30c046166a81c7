import type { Clock, Timer } from "../clock.ts";
import { type Ranked, RankedHeap } from "./work-queue-heap.ts";

/** So many keys are handed on in one go, which takes milliseconds; the rest after whatever else is ready. */
const MOST_AT_ONCE = 10_000;

/** Ranked by when it is due, in monotonic milliseconds. */
interface Delayed<Key> extends Ranked {
  readonly key: Key;
}

/** What a {@link DelayingQueue} needs. */
export interface DelayingQueueTerms<Key> {
  readonly clock: Clock;
  /** Called with each key when its time has come, and not for it again. Must not throw. */
  readonly onDue: (key: Key) => void;
}

/**
 * Keys that wait for their time: each at most once, and of two times the earlier. One timer for all of them, which keeps
 * the process alive; none while no key waits. Delays count monotonic time, so that a wall clock that is set changes none.
 */
export class DelayingQueue<Key> {
  readonly #clock: Clock;
  readonly #onDue: (key: Key) => void;
  /** The same items as in the heap. */
  readonly #byKey = new Map<Key, Delayed<Key>>();
  readonly #byTime = new RankedHeap<Delayed<Key>>();
  #timer: Timer | undefined;
  /** When the timer fires. */
  #armedFor: number | undefined;

  constructor({ clock, onDue }: DelayingQueueTerms<Key>) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** How many keys wait. */
  get size(): number {
    return this.#byKey.size;
  }

  /** Has the key wait for so many milliseconds, unless it is due sooner already. */
  addAfter(key: Key, delayMs: number): void {
    const dueAt = this.#clock.monotonic() + delayMs;
    const waiting = this.#byKey.get(key);
    if (waiting === undefined) {
      const delayed = { key, rank: dueAt, order: 0, position: -1 };
      this.#byKey.set(key, delayed);
      this.#byTime.push(delayed);
    } else if (dueAt < waiting.rank) {
      waiting.rank = dueAt;
      this.#byTime.moved(waiting);
    }
    this.#arm();
  }

  /** Lets the key wait no longer, and not come due. One that doesn't wait does no harm. */
  cancel(key: Key): void {
    const waiting = this.#byKey.get(key);
    if (waiting === undefined) return;
    this.#byKey.delete(key);
    this.#byTime.remove(waiting);
    this.#arm();
  }

  /** Drops all keys, and the timer. */
  clear(): void {
    this.#byKey.clear();
    this.#byTime.clear();
    this.#arm();
  }

  /** Sets the timer for the earliest key, unless it is. */
  #arm(): void {
    const dueAt = this.#byTime.peek()?.rank;
    if (dueAt === this.#armedFor) return;
    this.#timer?.clear();
    this.#timer = undefined;
    this.#armedFor = dueAt;
    if (dueAt === undefined) return;
    this.#timer = this.#clock.setTimer(Math.max(0, dueAt - this.#clock.monotonic()), () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#armedFor = undefined;
    const now = this.#clock.monotonic();
    for (let handedOn = 0; handedOn < MOST_AT_ONCE; handedOn += 1) {
      const earliest = this.#byTime.peek();
      // A timer may fire a little early; the rest is waited for.
      if (earliest === undefined || earliest.rank > now) break;
      this.#byTime.pop();
      this.#byKey.delete(earliest.key);
      this.#onDue(earliest.key);
    }
    this.#arm();
  }
}
