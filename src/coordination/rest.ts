import type { Clock } from "../clock.ts";

/** A rest that somebody else can end early. One at a time. */
export class Rest {
  readonly #clock: Clock;
  #resolve: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `ms` milliseconds, or at {@link end}. */
  for(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(ms, () => this.end());
      this.#resolve = () => {
        timer.clear();
        resolve();
      };
    });
  }

  /** Ends the present one. */
  end(): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }
}
