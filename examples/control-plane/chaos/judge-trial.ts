import type { Facts } from "./facts.ts";

/** What nothing was tried of: that it held says nothing. */
export function untried({ requests, faults, takeovers, probes, settled }: Facts): string[] {
  const tried: Readonly<Record<string, number>> = {
    "no request was sent": requests.length,
    "no worker was killed or frozen": faults.killedWorkers + faults.frozenWorkers,
    "nothing was done to the leader": takeovers.length,
    "no write of a former leader was tried": probes.length,
    "no copy was there": settled.copies.length,
  };
  return Object.keys(tried).filter((what) => tried[what] === 0);
}
