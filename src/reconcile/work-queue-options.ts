import type { Clock } from "../clock.ts";
import { acceptOptions, invalidOptions, rules } from "../option-rules.ts";
import { BACKOFF_RULES, type BackoffOptions } from "./backoff.ts";

/** How long a key was at what, in milliseconds. */
export interface WorkDurations {
  /** From when it was added until it was handed out. */
  readonly queuedMs: number;
  /** From when it was handed out until it was done. */
  readonly workedMs: number;
}

/** Options of `WorkQueue`. */
export interface WorkQueueOptions extends BackoffOptions {
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** The label `name` of the metrics. Defaults to "default". */
  readonly name?: string | undefined;
  /**
   * Called whenever a key is done, for histograms of one's own: those of the metrics can't be read back into one. What it throws changes
   * nothing. Defaults to nothing.
   */
  readonly onDone?: ((durations: WorkDurations) => void) | undefined;
}

/** Options of `WorkQueue.add`. */
export interface WorkQueueAddOptions {
  /** A whole number; the higher goes first. Defaults to 0. */
  readonly priority?: number | undefined;
}

/** What the options of `WorkQueue` must be. */
export const WORK_QUEUE_RULES = { ...BACKOFF_RULES, clock: rules.clock, name: rules.name, onDone: rules.fn } as const;

const ADD_RULES = { priority: rules.custom("a whole number", Number.isSafeInteger) } as const;

/**
 * The priority that an add asks for.
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function acceptPriority(options: WorkQueueAddOptions | undefined): number {
  if (options === undefined) return 0;
  acceptOptions("WorkQueue.add", ADD_RULES, options);
  return options.priority ?? 0;
}

/** @throws EvenkeelError `INVALID_OPTIONS` for `undefined`, which `get` says when there is no more. */
export function acceptKey(method: string, key: unknown): void {
  if (key === undefined) throw invalidOptions(`WorkQueue.${method}`, "a key must not be undefined");
}

/** @throws EvenkeelError `INVALID_OPTIONS` for anything but a finite number. */
export function acceptDelay(delayMs: unknown): void {
  if (!Number.isFinite(delayMs))
    throw invalidOptions("WorkQueue.addAfter", "delayMs must be a finite number of milliseconds");
}

/** @throws EvenkeelError `INVALID_OPTIONS` for anything but an AbortSignal or nothing. */
export function acceptSignal(signal: unknown): void {
  if (signal !== undefined && !rules.signal.test(signal))
    throw invalidOptions("WorkQueue.get", `signal must be ${rules.signal.says}`);
}
