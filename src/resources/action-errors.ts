import { invalidOptions } from "../option-rules.ts";

/** `Symbol.for`, so that a second copy of the library (ESM beside CommonJS) recognises what the user's code throws. */
const BRAND = Symbol.for("evenkeel.actionError");

type ActionErrorKind = "RetryAfter" | "TerminalError" | "NotFound";

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
    brand(this, "RetryAfter");
  }
}

/**
 * Thrown by a callback that knows that no new try will help, and that nothing was done: the resource is left alone until its
 * desired state changes or `wake()` is called.
 */
export class TerminalError extends Error {
  override readonly name: string = "TerminalError";

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    brand(this, "TerminalError");
  }
}

/** Thrown by `terminate` when the resource is not there: which is success. */
export class NotFound extends Error {
  override readonly name: string = "NotFound";

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    brand(this, "NotFound");
  }
}

/** Whether `value` is a {@link RetryAfter}, also one made by another copy of the library, where `instanceof` fails. */
export function isRetryAfter(value: unknown): value is RetryAfter {
  return kindOf(value) === "RetryAfter";
}

/** Whether `value` is a {@link TerminalError}, also one made by another copy of the library. */
export function isTerminalError(value: unknown): value is TerminalError {
  return kindOf(value) === "TerminalError";
}

/** Whether `value` is a {@link NotFound}, also one made by another copy of the library. */
export function isNotFound(value: unknown): value is NotFound {
  return kindOf(value) === "NotFound";
}

function brand(error: Error, kind: ActionErrorKind): void {
  Object.defineProperty(error, BRAND, { value: kind });
}

function kindOf(value: unknown): unknown {
  return typeof value === "object" && value !== null ? (value as Record<symbol, unknown>)[BRAND] : undefined;
}
