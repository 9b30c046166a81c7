import { acceptOptions, invalidOptions, type OptionRules, rules } from "../option-rules.ts";

/** When so much is stale at once that it is rather our view that is wrong. */
export interface MassGuardOptions {
  /** With fewer rows the guard never acts. Defaults to 10. */
  readonly minRows?: number;
  /** With fewer stale rows the guard never acts. Defaults to 3. */
  readonly minStale?: number;
  /** With a smaller part of the rows stale the guard never acts: over 0, at most 1. Defaults to 0.5. */
  readonly fraction?: number;
  /** The least time between two replacements while some are not stale, in milliseconds. Defaults to 10,000. */
  readonly replacementIntervalMs?: number;
}

/** {@link MassGuardOptions} with every default in place. */
export type MassGuardSettings = Readonly<Required<MassGuardOptions>>;

const RULES: OptionRules = {
  minRows: rules.count,
  minStale: rules.count,
  fraction: rules.custom(
    "a number over 0 and at most 1",
    (value) => Number.isFinite(value) && (value as number) > 0 && (value as number) <= 1,
  ),
  replacementIntervalMs: rules.durationMs,
};

/**
 * Accepts the Reconciler's option `massGuard` and fills the defaults in. `false` switches the guard off.
 * @throws EvenkeelError `INVALID_OPTIONS` that names `massGuard` and what of it is wrong.
 */
export function massGuardSettings(given: false | MassGuardOptions | undefined): MassGuardSettings | false {
  if (given === false) return false;
  if (given !== undefined && (typeof given !== "object" || given === null || Array.isArray(given)))
    throw invalidOptions("Reconciler", "massGuard must be false or an object of options");
  const options = given ?? {};
  acceptOptions("Reconciler: massGuard", RULES, options);
  return Object.freeze({
    minRows: options.minRows ?? 10,
    minStale: options.minStale ?? 3,
    fraction: options.fraction ?? 0.5,
    replacementIntervalMs: options.replacementIntervalMs ?? 10_000,
  });
}

/** What the guard looks at. */
export interface MassGuardInput {
  /** How many rows could be stale. */
  readonly rows: number;
  /** How many of them are. */
  readonly stale: number;
  /** Epoch milliseconds of the last replacement of a stale row; absent: there was none. */
  readonly lastReplacementAt?: number;
  readonly nowMs: number;
}

/**
 * - `off`: stale rows are replaced as usual.
 * - `slow`: one at a time, the next at `nextReplacementAt` (epoch milliseconds; `nowMs` where it may be at once).
 * - `hold`: everything is stale, and nothing is replaced.
 */
export type MassGuardJudgement =
  | { readonly mode: "off" }
  | { readonly mode: "slow"; readonly nextReplacementAt: number }
  | { readonly mode: "hold" };

/**
 * Whether replacements of stale rows are slowed or held because too many are due at once. The models are the eviction rate
 * of Kubernetes' node lifecycle controller, which falls with the share of unhealthy nodes and stops when all are unhealthy.
 */
export function judgeMass(input: MassGuardInput, settings: MassGuardSettings | false): MassGuardJudgement {
  const { rows, stale, lastReplacementAt, nowMs } = input;
  if (settings === false || rows < settings.minRows || stale < settings.minStale) return { mode: "off" };
  // A quotient, because 7 of 100 is 0.07 of them, and 0.07 * 100 is more than 7.
  if (stale / rows < settings.fraction) return { mode: "off" };
  if (stale >= rows) return { mode: "hold" };
  const { replacementIntervalMs } = settings;
  // One from the future was before the clock went back: it delays by one interval at most.
  const nextAt = lastReplacementAt === undefined ? nowMs : Math.min(lastReplacementAt, nowMs) + replacementIntervalMs;
  return { mode: "slow", nextReplacementAt: Math.max(nowMs, nextAt) };
}
