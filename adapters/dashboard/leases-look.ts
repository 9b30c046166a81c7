import { type DivisionLease, divisionLeaseOf } from "../../src/coordination/division-lease.ts";
import type { LeaseView } from "../../src/store.ts";
import type { DivisionSummary, ElectionSummary } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";

const MOST_ELECTIONS = 100;
const MOST_DIVISIONS = 100;

/** What leases say of elections and divisions. */
export interface LeasesFound {
  readonly elections: readonly ElectionSummary[];
  readonly divisions: readonly DivisionSummary[];
}

/** @throws what the store did. */
export async function leasesLook(read: StoreReader): Promise<LeasesFound> {
  return leasesFound(await read((store, call) => store.leases.list("", call)));
}

/** Takes the leases of divisions for those of `ShardCoordinator`; every other is an election. */
function leasesFound(leases: readonly LeaseView[]): LeasesFound {
  const elections: ElectionSummary[] = [];
  const divisions = new Map<string, DivisionLease[]>();
  for (const lease of leases) {
    const part = divisionLeaseOf(lease);
    if (part !== undefined) {
      const parts = divisions.get(part.division);
      if (parts === undefined) divisions.set(part.division, [part]);
      else parts.push(part);
    } else if (elections.length < MOST_ELECTIONS) {
      const { name, holder, epoch, remainingMs } = lease;
      elections.push({ name, leader: holder, epoch, remainingMs });
    }
  }
  const names = [...divisions].slice(0, MOST_DIVISIONS);
  return { elections, divisions: names.map(([name, parts]) => divisionOf(name, parts)) };
}

function divisionOf(name: string, parts: readonly DivisionLease[]): DivisionSummary {
  const members = new Map<string, { id: string; shards: number; weight: number }>();
  for (const part of parts)
    if (part.kind === "member") members.set(part.member, { id: part.member, shards: 0, weight: part.weight });
  const held = parts.filter((part) => part.kind === "shard");
  for (const { holder } of held) {
    // Who has left holds its shards until what runs in them is over.
    const member = members.get(holder) ?? { id: holder, shards: 0, weight: 0 };
    member.shards += 1;
    members.set(holder, member);
  }
  const shards = Math.max(...parts.map((part) => part.shards));
  return { name, shards, unowned: Math.max(0, shards - held.length), members: [...members.values()] };
}
