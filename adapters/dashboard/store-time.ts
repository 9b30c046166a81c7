import type { Clock } from "../../src/clock.ts";

/** So much of a difference is what it takes to read a row. */
const UNNOTICED_MS = 500;

/** The store's time by our clock, so that what is shown as an age is none of two clocks. */
export class StoreTime {
  readonly #clock: Clock;
  #aheadMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes in when the store says that it read something, just now. */
  take(readAt: number): void {
    const aheadMs = readAt - this.#clock.now();
    // Moments that are shown should not tremble.
    if (Math.abs(aheadMs - this.#aheadMs) > UNNOTICED_MS)
      this.#aheadMs = Math.abs(aheadMs) > UNNOTICED_MS ? aheadMs : 0;
  }

  /** A moment of the store's clock by ours. */
  local(moment: number): number {
    return moment - this.#aheadMs;
  }
}
