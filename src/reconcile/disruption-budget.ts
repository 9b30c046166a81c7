import { type OptionRule, rules } from "../option-rules.ts";

/** How many may be unavailable at once because of us: a number, or a part of the desired (`"10%"`). */
export type MaxUnavailable = number | `${number}%`;

const PERCENTAGE = /^(100|[1-9][0-9]?)%$/;

/** What the Reconciler's option `maxUnavailable` has to be. */
export const MAX_UNAVAILABLE: OptionRule = rules.either(
  rules.count,
  rules.custom(
    'a whole percentage from "1%" to "100%"',
    (value) => typeof value === "string" && PERCENTAGE.test(value),
  ),
);

/** What the budget is reckoned from. */
export interface DisruptionBudgetInput {
  /** One that {@link MAX_UNAVAILABLE} accepts. */
  readonly maxUnavailable: MaxUnavailable;
  /** How many are desired. */
  readonly desired: number;
  /** How many of them are not available already: TERMINATING and FAILED ones count. */
  readonly unavailable: number;
}

/**
 * How many more may be made unavailable now, by updates and voluntary replacements. A percentage is rounded down, to at
 * least 1: otherwise a small group could never be updated.
 */
export function disruptionBudget({ maxUnavailable, desired, unavailable }: DisruptionBudgetInput): number {
  const allowed =
    typeof maxUnavailable === "number"
      ? maxUnavailable
      : Math.floor((desired * Number.parseInt(maxUnavailable, 10)) / 100);
  return Math.max(0, Math.max(1, allowed) - unavailable);
}
