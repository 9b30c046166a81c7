import { AsyncResource } from "node:async_hooks";
import { type Clock, sleepOn, type Timer, turnOfEventLoop } from "../clock.ts";
import { invalidOptions } from "../option-rules.ts";

/** 2026-01-01T00:00:00Z: a moment that looks like one. */
const START_AT = 1_767_225_600_000;
/** What one timer sets off may take this many turns of the event loop; each grouped store operation takes one. */
const SETTLING_TURNS = 10;
/** More timers than this at one moment are a loop that will not end. */
const MOST_TIMERS_AT_ONCE = 100_000;

interface PendingTimer {
  readonly dueAt: number;
  readonly fire: () => void;
}

/**
 * A clock that stands still until a test moves it, so that hours pass in a millisecond and in a known order.
 *
 * Timers count by monotonic time, as real ones do. After each timer, and before the first, everything that is ready runs
 * (promise chains, `setImmediate`), so that a timer set by what a timer set off, and due within the span, fires too. Not
 * waited for: real I/O, and threads of its own. A callback that throws makes {@link ManualClock.advance} reject.
 *
 * @example
 * ```ts
 * const clock = new ManualClock();
 * const charge = withIdempotency(chargeCard, { store: memoryStore({ clock }), clock, operation: "charge" });
 * const charged = charge(order, { key: "order-17" });
 * await clock.advance(60_000);
 * await charged;
 * assert.equal(clock.pendingTimers, 0);
 * ```
 */
export class ManualClock implements Clock {
  /** Earliest first; of two due at one moment the one that was set first. */
  readonly #timers: PendingTimer[] = [];
  /** Wall time less monotonic time. */
  #wallOffset: number;
  #monotonic = 0;
  /** Two advances follow one another: their spans add up. */
  #advancing: Promise<void> = Promise.resolve();

  /**
   * @param startAt - wall time in epoch milliseconds. Defaults to 2026-01-01T00:00:00Z.
   * @throws EvenkeelError `INVALID_OPTIONS` unless it is a finite number that is not negative.
   */
  constructor(startAt: number = START_AT) {
    assertTime("startAt", startAt);
    this.#wallOffset = startAt;
  }

  /** How many timers are set and have neither fired nor been cleared: 0 where nothing leaks. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Wall time in whole epoch milliseconds. */
  now(): number {
    return Math.floor(this.#wallOffset + this.#monotonic);
  }

  /** Milliseconds that have been advanced, from 0. */
  monotonic(): number {
    return this.#monotonic;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  setTimer(ms: number, fire: () => void): Timer {
    if (Number.isNaN(ms)) throw invalidOptions("ManualClock.setTimer", "ms must be a number");
    // As with real timers, what fires runs in the async context of whoever set it.
    const timer = { dueAt: this.#monotonic + Math.max(0, ms), fire: AsyncResource.bind(fire) };
    this.#timers.splice(this.#endOf(timer.dueAt), 0, timer);
    return {
      clear: () => {
        const at = this.#timers.indexOf(timer);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  /**
   * Moves wall and monotonic time on together by `ms` milliseconds and fires the timers that come due, each at its moment.
   * Resolves when what they set off has settled.
   * @throws EvenkeelError `INVALID_OPTIONS` unless `ms` is a finite number that is not negative.
   */
  async advance(ms: number): Promise<void> {
    assertTime("advance: ms", ms);
    const advanced = this.#advancing.then(() => this.#advance(ms));
    this.#advancing = advanced.catch(() => {});
    await advanced;
  }

  /**
   * Sets the wall clock alone, forwards or back, as an operator or NTP does. No timer fires: they count monotonic time.
   * @param atMs - wall time in epoch milliseconds.
   * @throws EvenkeelError `INVALID_OPTIONS` unless it is a finite number that is not negative.
   */
  async set(atMs: number): Promise<void> {
    assertTime("set: atMs", atMs);
    this.#wallOffset = atMs - this.#monotonic;
    await settle();
  }

  async #advance(ms: number): Promise<void> {
    await settle();
    const target = this.#monotonic + ms;
    let atOneMoment = 0;
    for (let next = this.#timers[0]; next !== undefined && next.dueAt <= target; next = this.#timers[0]) {
      this.#timers.shift();
      atOneMoment = next.dueAt > this.#monotonic ? 0 : atOneMoment + 1;
      if (atOneMoment > MOST_TIMERS_AT_ONCE)
        throw new Error("ManualClock: timers are set for the same moment forever.");
      this.#monotonic = Math.max(this.#monotonic, next.dueAt);
      next.fire();
      await settle();
    }
    this.#monotonic = target;
    await settle();
  }

  /** Where a timer due at this moment goes: behind all that are not later. */
  #endOf(dueAt: number): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const timer = this.#timers[middle];
      if (timer !== undefined && timer.dueAt <= dueAt) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLING_TURNS; turn += 1) await turnOfEventLoop();
}

function assertTime(name: string, value: unknown): void {
  if (Number.isFinite(value) && (value as number) >= 0) return;
  throw invalidOptions("ManualClock", `${name} must be a finite number of milliseconds that is not negative`);
}
