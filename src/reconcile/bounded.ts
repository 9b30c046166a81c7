import { onAbort } from "../abort-listeners.ts";
import type { Clock } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";

/** What bounds a call of the user's. */
export interface Bounds {
  readonly clock: Clock;
  /** Milliseconds after which nobody waits any more. */
  readonly timeoutMs: number;
  /** What is said then. */
  readonly timeoutMessage: string;
  /** Any of them ends the waiting. */
  readonly ends: readonly (AbortSignal | undefined)[];
}

/** `timedOut`, `aborted`: it was given up, and whether it did anything is unknown. */
export type BoundedResult<T> =
  | { readonly status: "returned"; readonly value: T }
  | { readonly status: "threw" | "timedOut" | "aborted"; readonly error: unknown };

/**
 * A call that nobody waits for any longer than it may take. Never rejects; what comes after it was given up is not heard, and its
 * signal says so. Not called at all where an end was there before.
 */
export function bounded<T>(
  { clock, timeoutMs, timeoutMessage, ends }: Bounds,
  call: (signal: AbortSignal) => T | PromiseLike<T>,
): Promise<BoundedResult<T>> {
  const ended = ends.find((end) => end?.aborted);
  if (ended !== undefined) return Promise.resolve({ status: "aborted", error: ended.reason });
  return new Promise((resolve) => {
    const controller = new AbortController();
    const settle = (result: BoundedResult<T>): void => {
      timer.clear();
      for (const stopListening of stops) stopListening();
      resolve(result);
    };
    const giveUp = (status: "timedOut" | "aborted", error: unknown): void => {
      settle({ status, error });
      controller.abort(error);
    };
    const timer = clock.setTimer(timeoutMs, () =>
      giveUp("timedOut", new EvenkeelError("WAIT_TIMEOUT", timeoutMessage)),
    );
    const stops = ends.map((end) => onAbort(end, () => giveUp("aborted", end?.reason)));
    new Promise<T>((pass) => pass(call(controller.signal))).then(
      (value) => settle({ status: "returned", value }),
      (error: unknown) => settle({ status: "threw", error }),
    );
  });
}
