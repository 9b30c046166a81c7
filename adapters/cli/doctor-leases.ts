import { DIVISIONS_PREFIX } from "../../src/coordination/division-lease.ts";
import { type Division, divisionsOf } from "../../src/coordination/divisions.ts";
import type { LeaseView } from "../../src/store.ts";
import { type Check, FINE, type Verdict } from "./doctor-check.ts";
import type { LedgerSubject } from "./doctor-ledger-subject.ts";

/** What can be said of the divisions of a ledger. */
export const LEASE_CHECKS: readonly Check<LedgerSubject>[] = [
  { id: "shards-unowned", look: unowned },
  { id: "shard-counts-differ", look: countsDiffer },
];

/** A shard that moves is nobody's for a moment, and that of a member that died until its lease has lapsed. */
async function unowned(subject: LedgerSubject): Promise<Verdict> {
  const first = unownedOf(await leasesOf(subject));
  if (first.size === 0) return FINE;
  await subject.clock.sleep(subject.limits.settleMs, subject.signal);
  const still = unownedOf(await leasesOf(subject));
  return [...still].flatMap(([name, { shards, missing }]) => {
    const before = new Set(first.get(name)?.missing);
    const both = missing.filter((shard) => before.has(shard));
    if (both.length === 0) return [];
    return {
      severity: "warning",
      what: `${both.length} of ${shards} shards are nobody's: what belongs to them waits`,
      change:
        "give it the time of a lease; if it stays, see that not all members have `weight: 0`, and that `onRevoked` and what runs under a shard come to an end",
      subject: name,
    };
  });
}

async function countsDiffer(subject: LedgerSubject): Promise<Verdict> {
  return divisionsOf(await leasesOf(subject)).flatMap(({ name, counts }) => {
    if (counts.length < 2) return [];
    return {
      severity: "error",
      what: `members divide into ${counts.join(" and ")} shards: those of one number keep those of the other out`,
      change:
        "give every `ShardCoordinator` of the name the same `shards`: stop all, then start all with the new number",
      subject: name,
    };
  });
}

function unownedOf(leases: readonly LeaseView[]): Map<string, { shards: number; missing: number[] }> {
  return new Map(
    divisionsOf(leases).flatMap((division: Division) => {
      const { name, members, counts, owners } = division;
      const [shards] = counts;
      // Without members nobody wants them.
      if (shards === undefined || counts.length > 1 || members.length === 0) return [];
      const missing = Array.from({ length: shards }, (_, shard) => shard).filter((shard) => !owners.has(shard));
      return missing.length === 0 ? [] : [[name, { shards, missing }] as const];
    }),
  );
}

function leasesOf({ store, ask }: LedgerSubject): Promise<LeaseView[]> {
  return ask((call) => store.leases.list(DIVISIONS_PREFIX, call));
}
