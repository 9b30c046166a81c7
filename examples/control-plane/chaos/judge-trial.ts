import type { Facts } from "./facts.ts";

/** What nothing was tried of: that it held says nothing. */
export function untried(facts: Facts): string[] {
  const { requests, deliveries, mismatches, faults, takeovers, probes, rows, epochs, beliefs, settled } = facts;
  const tried: Readonly<Record<string, number>> = {
    "no request was sent": requests.length,
    "no request was sent twice": deliveries.doubledAtOnce + deliveries.doubledLater,
    "no key was tried with another body": mismatches.length,
    "no worker was killed or frozen": faults.killedWorkers + faults.frozenWorkers,
    "nothing was done to the leader": takeovers.length,
    "no write of a former leader was tried": probes.length,
    "the ledger was not looked at": Math.min(rows.length, epochs.length),
    "no copy was heard to lead": beliefs.length,
    "no copy was there": settled.copies.length,
  };
  return Object.keys(tried).filter((what) => tried[what] === 0);
}

/** Whether each kind of fault, and all that can become of a request, has come at least once. */
export function isAllTried({
  faults,
  deliveries,
  probes,
  requests,
  rows,
}: Pick<Facts, "faults" | "deliveries" | "probes" | "requests" | "rows">): boolean {
  return (
    Object.values({ ...faults, ...deliveries }).every((count) => count > 0) &&
    probes.length > 0 &&
    requests.some(({ answers }) => answers.some(({ replayed }) => replayed)) &&
    rows.some(({ incarnation }) => incarnation > 1)
  );
}
