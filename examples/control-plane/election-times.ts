/** The durations of an election whose lease lasts so long, in the proportions of the defaults. */
export function electionTimes(leaseMs: number) {
  return {
    leaseDurationMs: leaseMs,
    renewDeadlineMs: (leaseMs * 2) / 3,
    retryPeriodMs: (leaseMs * 2) / 15,
  };
}
