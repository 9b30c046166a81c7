import { invalidOptions } from "../option-rules.ts";

/** Thrown by a callback that knows when a new try makes sense. Wins over every backoff. */
export class RetryAfter extends Error {
  /** Milliseconds. */
  readonly afterMs: number;

  /** @throws EvenkeelError `INVALID_OPTIONS` unless `afterMs` is a finite number that is not negative. */
  constructor(afterMs: number, options?: ErrorOptions) {
    if (!Number.isFinite(afterMs) || afterMs < 0)
      throw invalidOptions("RetryAfter", "afterMs must be a finite number of milliseconds that is not negative");
    super(`Try again after ${afterMs} ms.`, options);
    this.name = "RetryAfter";
    this.afterMs = afterMs;
  }
}

/**
 * Thrown by a callback that knows that no new try will help, and that nothing was done: the resource is left alone until its
 * desired state changes or `wake()` is called.
 */
export class TerminalError extends Error {
  override readonly name: string = "TerminalError";
}

/** Thrown by `terminate` when the resource is not there: which is success. */
export class NotFound extends Error {
  override readonly name: string = "NotFound";
}
