import { type Clock, sleepOn, systemClock, type Timer } from "../../src/clock.ts";

/** The machine's clock, for stores that wait for a real server; `advance` puts it forward, timers included. */
export class AdjustableClock implements Clock {
  readonly #pending = new Map<object, { readonly dueAt: number; fire(): void }>();
  #ahead = 0;

  now(): number {
    return systemClock.now() + this.#ahead;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#ahead;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  setTimer(ms: number, fire: () => void, options?: { ref?: boolean }): Timer {
    const key = {};
    const fireOnce = (): void => {
      timer.clear();
      if (this.#pending.delete(key)) fire();
    };
    const timer = systemClock.setTimer(ms, fireOnce, options);
    this.#pending.set(key, { dueAt: this.monotonic() + ms, fire: fireOnce });
    return {
      clear: () => {
        timer.clear();
        this.#pending.delete(key);
      },
    };
  }

  advance(ms: number): void {
    this.#ahead += ms;
    for (const { dueAt, fire } of [...this.#pending.values()]) if (dueAt <= this.monotonic()) fire();
  }
}
