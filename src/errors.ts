/**
 * Every code that an {@link EvenkeelError} can carry. Each has a heading in `docs/errors.md`.
 */
export type EvenkeelErrorCode =
  | "KEY_MISSING"
  | "KEY_INVALID"
  | "FINGERPRINT_MISMATCH"
  | "IN_PROGRESS"
  | "WAIT_TIMEOUT"
  | "TOO_MANY_WAITERS"
  | "ABANDONED"
  | "LEASE_LOST"
  | "RESULT_NOT_REPLAYABLE"
  | "STEP_MISMATCH"
  | "RECORD_CORRUPT"
  | "STORE_UNAVAILABLE"
  | "STORE_MISCONFIGURED"
  | "INVALID_FINGERPRINT"
  | "NOT_LEADER"
  | "FENCED"
  | "ILLEGAL_TRANSITION"
  | "NESTED_EXECUTION"
  | "INVALID_OPTIONS";

/** Codes after which the same call may succeed without anybody changing anything. */
const RETRYABLE: ReadonlySet<EvenkeelErrorCode> = new Set<EvenkeelErrorCode>([
  "IN_PROGRESS",
  "WAIT_TIMEOUT",
  "TOO_MANY_WAITERS",
  "LEASE_LOST",
  "STORE_UNAVAILABLE",
  "NOT_LEADER",
]);

/** `Symbol.for`, so that a second copy of the library (ESM beside CommonJS) recognises the error. */
const BRAND = Symbol.for("evenkeel.error");

export interface EvenkeelErrorOptions extends ErrorOptions {
  /** Milliseconds after which a retry makes sense. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * The one class of errors that evenkeel throws of its own accord. Errors of the user's function are never wrapped in it.
 *
 * The message never contains a key, an input or a stored value.
 *
 * @example
 * ```ts
 * try {
 *   await charge(order, { key });
 * } catch (error) {
 *   if (isEvenkeelError(error) && error.retryable) return retryLater(error.retryAfterMs);
 *   throw error;
 * }
 * ```
 */
export class EvenkeelError extends Error {
  readonly code: EvenkeelErrorCode;
  /** Whether the same call may succeed later, with nothing changed. */
  readonly retryable: boolean;
  /** Milliseconds after which a retry makes sense, where that is known. */
  readonly retryAfterMs?: number;

  constructor(code: EvenkeelErrorCode, message: string, options: EvenkeelErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "EvenkeelError";
    this.code = code;
    this.retryable = RETRYABLE.has(code);
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/**
 * Whether `value` is an {@link EvenkeelError}, also one made by another copy of the library, where `instanceof` fails.
 */
export function isEvenkeelError(value: unknown): value is EvenkeelError {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
}
