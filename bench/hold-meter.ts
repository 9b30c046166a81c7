/** Measures for how long one piece of work keeps the event loop: the longest time between two of its turns. */
export class HoldMeter {
  #last = performance.now();
  #longestMs = 0;
  #isOn = true;

  constructor() {
    const turn = (): void => {
      this.#note();
      if (this.#isOn) setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** @returns milliseconds. */
  async stop(): Promise<number> {
    // What is under way now is part of it.
    await new Promise(setImmediate);
    this.#isOn = false;
    return this.#longestMs;
  }

  #note(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#last);
    this.#last = now;
  }
}
