import type { Random } from "../random.ts";
import { isRetryAfter, isTerminalError } from "../resources/action-errors.ts";
import { Backoff } from "./backoff.ts";
import { type StepOutcome, specOf } from "./step.ts";
import { retryKeyOf } from "./verdict.ts";

/** What was asked for: what was given up is tried again when something else is. */
interface Target {
  readonly generation: number;
  /** Of the step; the generation does not change with it where `desired` is known only in part. */
  readonly spec?: string | undefined;
}

/** All creations of the group together: after a failed batch, others wait too. */
const CREATION = "";
const LONGEST_CREATION_DELAY_MS = 30_000;
/** How the retry keys of terminations begin. */
const ENDING = /^(?:terminate|forceTerminate)\//;

interface Retry {
  readonly id: string;
  /** Blocked: until something else is asked for, or somebody wakes it. */
  readonly until: number | Target;
  /** How long that was when it began. */
  readonly delayMs: number;
  /** The callback asked for this itself: nobody shortens it. */
  readonly isAsked: boolean;
}

/**
 * What failed, and when it may be tried again. In memory: after a restart everything may be tried at once, under the keys that it had.
 * All moments are of the store's clock.
 */
export class Retries {
  readonly #backoff: Backoff<string>;
  readonly #creations: Backoff<string>;
  readonly #retries = new Map<string, Retry>();
  readonly #accepted = new Map<string, number>();
  #creationAt: number | undefined;

  constructor(random: Random) {
    this.#backoff = new Backoff({ random });
    this.#creations = new Backoff({ random, maxDelayMs: LONGEST_CREATION_DELAY_MS });
  }

  /** How many actions something is kept of. */
  get size(): number {
    return this.#retries.size;
  }

  /** See `JudgeContext`. */
  retryOf(
    key: string,
    { generation, spec, nowMs }: Target & { readonly nowMs: number },
  ): number | "blocked" | undefined {
    const retry = this.#retries.get(key);
    if (retry === undefined) return undefined;
    const { until, delayMs } = retry;
    if (typeof until !== "number")
      return until.generation === generation && until.spec === spec ? "blocked" : undefined;
    if (until <= nowMs + delayMs) return until;
    // The clock went back: the delay is no longer than it was.
    this.#retries.set(key, { ...retry, until: nowMs + delayMs });
    return nowMs + delayMs;
  }

  /** How often the action has failed in a row. */
  failuresOf(key: string): number {
    return this.#backoff.retries(key);
  }

  /** When a termination was accepted that has not been seen to be carried out. */
  acceptedAt(key: string, nowMs: number): number | undefined {
    const at = this.#accepted.get(key);
    if (at === undefined || at <= nowMs) return at;
    this.#accepted.set(key, nowMs);
    return nowMs;
  }

  /** When creations go on after a batch that failed. */
  creationAt(nowMs: number): number | undefined {
    if (this.#creationAt !== undefined)
      this.#creationAt = Math.min(this.#creationAt, nowMs + LONGEST_CREATION_DELAY_MS);
    return this.#creationAt;
  }

  failed(key: string, id: string, error: unknown, nowMs: number, target: Target): void {
    const backoffMs = this.#backoff.next(key);
    const isAsked = isRetryAfter(error);
    const delayMs = isAsked ? error.afterMs : backoffMs;
    const until = isTerminalError(error) ? target : nowMs + delayMs;
    this.#retries.set(key, { id, until, delayMs, isAsked });
  }

  /**
   * Accepted, and not seen to be carried out: if it still isn't after its grace period, it is asked for again, ever more rarely.
   * @param graceMs - for how long at least it is not asked for again.
   */
  accepted(key: string, id: string, nowMs: number, graceMs: number): void {
    if (!this.#accepted.has(key)) this.#accepted.set(key, nowMs);
    const delayMs = Math.max(graceMs, this.#backoff.next(key));
    this.#retries.set(key, { id, until: nowMs + delayMs, delayMs, isAsked: false });
  }

  succeeded(key: string): void {
    this.#backoff.forget(key);
    this.#retries.delete(key);
    this.#accepted.delete(key);
  }

  /** @param atMostMs - not for longer than this, whatever the backoff. */
  creationsFailed(nowMs: number, atMostMs = Number.POSITIVE_INFINITY): void {
    this.#creationAt = nowMs + Math.min(this.#creations.next(CREATION), atMostMs);
  }

  /** One succeeded, or what is wanted is something else now: it may go better. */
  creationsAnew(): void {
    this.#creations.forget(CREATION);
    this.#creationAt = undefined;
  }

  /** Somebody says that something has changed: what was given up is tried again; of one id also what only waits. */
  wake(id?: string): void {
    for (const [key, retry] of this.#retries) {
      if (id !== undefined && retry.id !== id) continue;
      const isGivenUp = typeof retry.until !== "number";
      if (!isGivenUp && (id === undefined || retry.isAsked)) continue;
      // Kept, so that the count of its failures is forgotten with it.
      this.#retries.set(key, { ...retry, until: 0, delayMs: 0 });
      if (key === retryKeyOf("create", retry.id, 0)) this.#creationAt = undefined;
    }
  }

  /** The terminations of which something is kept. Those handed out may be forgotten meanwhile. */
  *endings(): Generator<{ readonly key: string; readonly id: string }> {
    for (const [key, { id }] of this.#retries) if (ENDING.test(key)) yield { key, id };
  }

  /** Forgets slots that are gone. */
  forgetExcept(isThere: (id: string) => boolean): void {
    for (const [key, { id }] of this.#retries) if (!isThere(id)) this.succeeded(key);
  }
}

/** Takes what became of a step into account. */
export function recordRetry(
  retries: Retries,
  { step, result, error, row }: StepOutcome,
  {
    nowMs,
    generation,
    terminateGraceMs = 0,
  }: { readonly nowMs: number; readonly generation: number; readonly terminateGraceMs?: number },
): void {
  const { id, incarnation, type } = step;
  const externalId = "externalId" in step ? step.externalId : undefined;
  const key = retryKeyOf(type, id, incarnation, externalId);
  if (result === "failed" && type !== "fail" && type !== "drop" && type !== "adopt") {
    retries.failed(key, id, error, nowMs, { generation, spec: specOf(step) });
  }
  if (result !== "done") return;
  const isEnding = type === "terminate" || type === "forceTerminate";
  // The outside world has said yes; whether it did so is seen later.
  if (isEnding && (step.row === undefined || step.again || row?.state === "TERMINATING")) {
    retries.accepted(key, id, nowMs, terminateGraceMs);
    return;
  }
  retries.succeeded(key);
  if (!isEnding && type !== "drop") return;
  for (const other of ["terminate", "forceTerminate"] as const)
    retries.succeeded(retryKeyOf(other, id, incarnation, externalId));
}
