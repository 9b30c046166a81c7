import { invalidOptions, rules } from "../option-rules.ts";

/** The durations of a lease, in milliseconds. */
export interface LeaseTimes {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  /** How long one acquisition or renewal may take: so that there is a second one before the deadline. */
  readonly callBudgetMs: number;
}

/**
 * Fills in the defaults of the durations, and holds them against each other.
 * @throws EvenkeelError `INVALID_OPTIONS`
 */
export function leaseTimes(
  owner: string,
  options: {
    readonly leaseDurationMs?: number | undefined;
    readonly renewDeadlineMs?: number | undefined;
    readonly retryPeriodMs?: number | undefined;
  },
): LeaseTimes {
  const { leaseDurationMs = 15_000, renewDeadlineMs = 10_000, retryPeriodMs = 2_000 } = options;
  if (leaseDurationMs <= renewDeadlineMs)
    throw invalidOptions(owner, "leaseDurationMs must be greater than renewDeadlineMs");
  // In whole numbers: 1.2 is none that a double holds.
  if (5 * renewDeadlineMs <= 6 * retryPeriodMs)
    throw invalidOptions(owner, "renewDeadlineMs must be greater than 1.2 times retryPeriodMs");
  return { leaseDurationMs, renewDeadlineMs, retryPeriodMs, callBudgetMs: renewDeadlineMs / 2 };
}

/** A store whose leases have these operations. */
export function leaseStore(...names: readonly string[]) {
  return rules.custom("a LedgerStore with leases", (value) => {
    const leases = (value as { leases?: Record<string, unknown> | null } | null | undefined)?.leases;
    return typeof leases === "object" && names.every((name) => typeof leases?.[name] === "function");
  });
}
