import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { dropRejection } from "../rejections.ts";

/** What is known of the heartbeats of one incarnation. All `…At` are epoch milliseconds. */
export interface HeartbeatHistory {
  readonly incarnation: number;
  readonly provisionedAt?: number;
  readonly lastHeartbeatAt?: number;
  /** The last intervals between heartbeats in milliseconds, oldest first; at most 100. */
  readonly intervalsMs: readonly number[];
}

/** What a {@link StalenessPolicy} thinks of a resource. */
export interface Assessment {
  /** Only `stale` has consequences: the resource is replaced. `suspect` is shown. */
  readonly verdict: "fresh" | "suspect" | "stale";
  /**
   * Epoch milliseconds at which to ask again: the earliest moment at which the verdict may change while no heartbeat comes, or
   * earlier. Left out: only a heartbeat can change it.
   */
  readonly nextCheckAt?: number;
}

/**
 * Decides from its heartbeats whether a resource has fallen silent.
 *
 * The Reconciler hands the same object for a row for as long as no heartbeat comes.
 *
 * @example
 * ```ts
 * const nightly: StalenessPolicy = {
 *   assess({ lastHeartbeatAt = 0 }, nowMs) {
 *     return nowMs - lastHeartbeatAt > 86_400_000 ? { verdict: "stale" } : { verdict: "fresh", nextCheckAt: nowMs + 60_000 };
 *   },
 * };
 * ```
 */
export interface StalenessPolicy {
  assess(heartbeat: HeartbeatHistory, nowMs: number): Assessment;
  /**
   * What `assess` would answer, for looks that only show: `plan()`, `status()`, `explain()`. A policy whose `assess` remembers what
   * it was asked must remember nothing of this. Defaults to `assess`.
   */
  preview?(heartbeat: HeartbeatHistory, nowMs: number): Assessment;
  /**
   * A promise: nothing is `stale` while its last sign of life (the last heartbeat, else when it was provisioned) is at most
   * this many milliseconds ago. The Reconciler then asks only about rows that the store's index finds silent for longer; left
   * out, it asks about every row.
   */
  readonly quietMs?: number;
  /**
   * For how many milliseconds nobody is declared dead after a start, an election, a `resume()` or a stall: as long as a healthy
   * resource may be silent. Defaults to `quietMs`, else to 30,000.
   */
  readonly graceMs?: number;
}

/** The options of {@link fixedThreshold}. */
export interface FixedThresholdOptions {
  /** Stale when the last heartbeat is strictly more than this many milliseconds ago. */
  readonly staleAfterMs: number;
  /** How long one that has never beaten may take after it was provisioned, in milliseconds. Defaults to 60,000. */
  readonly startupGraceMs?: number;
  /** How often the same silence has to be found, each time later than the last, before it is stale. Defaults to 1. */
  readonly confirmations?: number;
}

/** How long to wait for the next confirmation. */
const RECHECK_MS = 1_000;

const RULES: OptionRules = {
  staleAfterMs: rules.durationMs,
  startupGraceMs: rules.durationMs,
  confirmations: rules.count,
};
const SCHEMA = optionsSchema(RULES, ["staleAfterMs"]);

/**
 * Stale once the last heartbeat is strictly more than `staleAfterMs` ago: at 30,000 exactly it is fresh, at 30,001 stale.
 *
 * With `confirmations: n` it is `suspect` until the same silence was found in n assessments at rising times. They are counted
 * by the identity of the history object, so a caller that passes a new literal each time never gets past the first.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function fixedThreshold(options: FixedThresholdOptions): StalenessPolicy {
  parseOptions("fixedThreshold", SCHEMA, options);
  const { staleAfterMs, startupGraceMs = 60_000, confirmations = 1 } = options;
  const count = confirmationCount(confirmations);
  const assessBy = (mode: Counting) => (heartbeat: HeartbeatHistory, nowMs: number) => {
    const silence = silenceOf(heartbeat, nowMs);
    if (silence === undefined) return assessment("fresh");
    const limitMs = silence.hasBeaten ? staleAfterMs : startupGraceMs;
    const isSilent = silence.ageMs > limitMs;
    const isConfirmed = count[mode](heartbeat, nowMs, isSilent ? "silent" : "alive");
    if (!isSilent) return assessment("fresh", silence.sinceAt + limitMs + 1);
    return isConfirmed ? assessment("stale") : assessment("suspect", nowMs + Math.min(RECHECK_MS, staleAfterMs));
  };
  return Object.freeze({
    quietMs: Math.min(staleAfterMs, startupGraceMs),
    graceMs: staleAfterMs,
    assess: assessBy("counted"),
    preview: assessBy("shown"),
  });
}

interface Confirmations extends Pick<HeartbeatHistory, "incarnation" | "provisionedAt" | "lastHeartbeatAt"> {
  readonly count: number;
  readonly countedAt: number;
}

type Counting = "counted" | "shown";
type IsConfirmed = (heartbeat: HeartbeatHistory, nowMs: number, found: "silent" | "alive") => boolean;

/**
 * Says whether a silence has been found `needed` times, this time among them. A sign of life starts the count anew. What is only
 * shown is not counted for the next time.
 */
function confirmationCount(needed: number): Readonly<Record<Counting, IsConfirmed>> {
  if (needed === 1) return { counted: () => true, shown: () => true };
  const counts = new WeakMap<HeartbeatHistory, Confirmations>();
  const counting = (heartbeat: HeartbeatHistory, nowMs: number): Confirmations => {
    const { incarnation, provisionedAt, lastHeartbeatAt } = heartbeat;
    const before = counts.get(heartbeat);
    const isSame =
      before?.incarnation === incarnation &&
      before.provisionedAt === provisionedAt &&
      before.lastHeartbeatAt === lastHeartbeatAt;
    const known = isSame ? before : { count: 0, countedAt: Number.NEGATIVE_INFINITY };
    const count = nowMs > known.countedAt ? known.count + 1 : known.count;
    // Where the clock went back the next count is from there on, and not only once it has caught up.
    return { incarnation, provisionedAt, lastHeartbeatAt, count, countedAt: nowMs } as Confirmations;
  };
  return {
    counted(heartbeat, nowMs, found) {
      if (found === "alive") {
        counts.delete(heartbeat);
        return false;
      }
      const now = counting(heartbeat, nowMs);
      counts.set(heartbeat, now);
      return now.count >= needed;
    },
    shown: (heartbeat, nowMs, found) => found === "silent" && counting(heartbeat, nowMs).count >= needed,
  };
}

/** How long a resource has been silent. */
export interface Silence {
  /** Epoch milliseconds of the last sign of life; never later than the `nowMs` it was asked for. */
  readonly sinceAt: number;
  readonly ageMs: number;
  /** Otherwise the sign of life is that it was provisioned. */
  readonly hasBeaten: boolean;
}

/** The silence since the last sign of life; undefined where there was none yet. One from the future counts as of now. */
export function silenceOf({ lastHeartbeatAt, provisionedAt }: HeartbeatHistory, nowMs: number): Silence | undefined {
  const lastAt = lastHeartbeatAt ?? provisionedAt;
  if (lastAt === undefined) return undefined;
  const sinceAt = Math.min(lastAt, nowMs);
  return { sinceAt, ageMs: nowMs - sinceAt, hasBeaten: lastHeartbeatAt !== undefined };
}

/** A frozen {@link Assessment}. */
export function assessment(verdict: Assessment["verdict"], nextCheckAt?: number): Assessment {
  return Object.freeze(nextCheckAt === undefined ? { verdict } : { verdict, nextCheckAt });
}

const VERDICT = rules.oneOf("fresh", "suspect", "stale");

/**
 * Holds what a user's `assess()` answered to the contract.
 * @throws EvenkeelError `INVALID_OPTIONS` that names `staleness.assess` and what is wrong with the answer.
 */
export function acceptAssessment(answer: unknown): Assessment {
  if (dropRejection(answer))
    throw invalidOptions("Reconciler", "staleness.assess must answer at once, and not with a promise");
  if (typeof answer !== "object" || answer === null)
    throw invalidOptions("Reconciler", "staleness.assess must answer an object with a verdict");
  const { verdict, nextCheckAt } = answer as Record<keyof Assessment, unknown>;
  if (!VERDICT.test(verdict))
    throw invalidOptions("Reconciler", `staleness.assess must answer a verdict that is ${VERDICT.says}`);
  if (nextCheckAt !== undefined && !Number.isFinite(nextCheckAt))
    throw invalidOptions(
      "Reconciler",
      "staleness.assess must answer a nextCheckAt of finite epoch milliseconds, or none",
    );
  return assessment(verdict as Assessment["verdict"], nextCheckAt as number | undefined);
}
