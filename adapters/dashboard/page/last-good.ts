import type { DashboardProblem, GroupSummary } from "../dashboard-update.ts";

/** What was seen last, and when, by the server's clock. */
export interface LastGood<T> {
  readonly data: T;
  readonly at: number;
}

/**
 * Takes up what an update says. What it only repeats, because it could not be read this time, keeps the time at which it was; what
 * was never read is not known. Without a problem, absent data is no longer there.
 */
export function lastGood<T>(
  before: LastGood<T> | undefined,
  data: T | undefined,
  at: number,
  problem: DashboardProblem | undefined,
): LastGood<T> | undefined {
  if (problem !== undefined && before !== undefined) return before;
  return data === undefined ? undefined : { data, at };
}

/** The groups of an update; those that the server, begun anew, could not read yet as they stood before. */
export function knownGroups(
  before: readonly GroupSummary[] | undefined,
  groups: readonly GroupSummary[],
): readonly GroupSummary[] {
  return groups.map(
    (group) => (group.conditions === undefined && before?.find(({ name }) => name === group.name)) || group,
  );
}
