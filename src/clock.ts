/**
 * The source of time. Two clocks in one, because each lies in its own way: wall time jumps when it is set, monotonic time
 * stands still while the machine is suspended.
 */
export interface Clock {
  /** Wall time in milliseconds since the epoch. */
  now(): number;
  /** Milliseconds since some fixed moment; never goes back. */
  monotonic(): number;
  /**
   * Resolves after `ms` milliseconds. Rejects with the signal's reason when `signal` aborts first.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Calls `fire` once, after `ms` milliseconds.
   * @param options.ref - Whether the timer keeps the process alive. Defaults to true.
   */
  setTimer(ms: number, fire: () => void, options?: { ref?: boolean }): Timer;
}

/** A timer that can be called off. */
export interface Timer {
  clear(): void;
}

/** Node fires a longer timer at once (`TimeoutOverflowWarning`), so longer ones are made of several. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

function setTimer(ms: number, fire: () => void, options: { ref?: boolean } = {}): Timer {
  const keepAlive = options.ref ?? true;
  const dueAt = performance.now() + ms;
  let handle: ReturnType<typeof setTimeout>;
  const arm = (remainingMs: number): void => {
    handle = setTimeout(
      () => {
        // A chunk of a long timer measures what is left, so that many chunks add up to no drift.
        const leftMs = remainingMs > LONGEST_TIMER_MS ? dueAt - performance.now() : 0;
        if (leftMs > 0) arm(leftMs);
        else fire();
      },
      Math.min(remainingMs, LONGEST_TIMER_MS),
    );
    if (!keepAlive) handle.unref();
  };
  arm(ms);
  return { clear: () => clearTimeout(handle) };
}

/** {@link Clock.sleep} for any clock that has timers. */
export function sleepOn(clock: Pick<Clock, "setTimer">, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.clear();
      reject(signal?.reason);
    };
    const timer = clock.setTimer(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** The machine's own clocks and timers. */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms: number, signal?: AbortSignal) => sleepOn(systemClock, ms, signal),
  setTimer,
});

/**
 * How much time has gone since a moment, by the clock that says more: a suspended machine stops the monotonic one, a clock
 * that was set back stops the wall one. Whoever holds a lease has to assume the worse of the two.
 */
export class Stopwatch {
  readonly #clock: Clock;
  readonly #wallStart: number;
  readonly #monotonicStart: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wallStart = clock.now();
    this.#monotonicStart = clock.monotonic();
  }

  /** Milliseconds since construction, never negative. */
  elapsedMs(): number {
    return Math.max(this.monotonicMs(), this.#clock.now() - this.#wallStart, 0);
  }

  /** Milliseconds since construction by the monotonic clock alone. */
  monotonicMs(): number {
    return this.#clock.monotonic() - this.#monotonicStart;
  }
}

/**
 * Runs `fire` after the I/O callbacks that are ready now, so that what they ask for can be done together (group commit)
 * while a lone call waits for nothing.
 */
export function afterPendingIo(fire: () => void): void {
  setImmediate(fire);
}

/** Resolves once everything that is ready now has run: promise chains, I/O callbacks and {@link afterPendingIo}. */
export function turnOfEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
