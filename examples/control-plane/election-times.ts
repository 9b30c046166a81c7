/** The durations of an election whose lease lasts so long, in the proportions of the defaults. */
export function electionTimes(leaseMs: number) {
  return {
    leaseDurationMs: leaseMs,
    renewDeadlineMs: Math.round((leaseMs * 2) / 3),
    retryPeriodMs: Math.round((leaseMs * 2) / 15),
  };
}
