import type { Leadership } from "./leadership.ts";
import type { Interruption } from "./pass-execution.ts";
import type { BareEvent } from "./pass-notes.ts";
import type { PassReport } from "./planned.ts";

/** Under what terms a pass runs. */
export interface PassTerms {
  /** Ends callbacks that run. */
  readonly signal?: AbortSignal | undefined;
  /** For how long yet nobody is declared dead, in milliseconds. Defaults to 0. */
  readonly graceLeftMs?: () => number;
  /** Whether anything new may begin. Defaults to always. */
  readonly mayBegin?: () => boolean;
  /** Ends the pass early; what was begun goes on. Defaults to never. */
  readonly interruption?: Interruption;
}

/**
 * The same, and the leadership that it began under. It ends with it: what was asked and concluded under one leadership is not acted on
 * under a later one, before which others may have led.
 */
export type LedTerms = PassTerms & {
  readonly leadership: Leadership;
  /** The ledger knows of a later leader. */
  readonly isRefused: boolean;
};

/** What a pass came to: whether it got on, had nothing to do, or tried and got nowhere. */
export interface PassResult {
  readonly report: PassReport;
  readonly progress: "some" | "none" | "stuck";
  /** `observe` or `desired` could not be relied on. */
  readonly isBlind: boolean;
  /** Epoch milliseconds before which `observe` or `desired` asked not to be asked again. */
  readonly retryAt?: number;
  /** Epoch milliseconds at which something comes due, whatever could be done before. */
  readonly dueAt?: number;
}

/** What a pass tells of, and asks, while it runs. */
export interface PassHooks {
  emit(event: BareEvent): void;
  /** Something that an earlier pass began has ended. */
  onLateOutcome(): void;
  isPaused(): boolean;
}
