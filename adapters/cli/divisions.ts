import { divisionLeaseOf } from "../../src/coordination/division-lease.ts";
import type { LeaseView } from "../../src/store.ts";

/** A member of a division. */
export interface DivisionMember {
  readonly id: string;
  readonly weight: number;
  /** How many shards it holds. */
  readonly holds: number;
}

/** How the shards of one `ShardCoordinator`'s name are held. */
export interface Division {
  readonly name: string;
  readonly members: readonly DivisionMember[];
  /** How many shards there are, as members and holders say; more than one number where they don't agree. */
  readonly counts: readonly number[];
  /** The holder of each shard that is held. */
  readonly owners: ReadonlyMap<number, string>;
}

/** The divisions that leases tell of, by name. */
export function divisionsOf(leases: readonly LeaseView[]): Division[] {
  const divisions = new Map<
    string,
    { weights: Map<string, number>; counts: Set<number>; owners: Map<number, string> }
  >();
  for (const lease of leases) {
    const told = divisionLeaseOf(lease);
    if (told === undefined) continue;
    const entry = divisions.get(told.division) ?? { weights: new Map(), counts: new Set(), owners: new Map() };
    divisions.set(told.division, entry);
    entry.counts.add(told.shards);
    if (told.kind === "member") entry.weights.set(told.member, told.weight);
    else entry.owners.set(told.shard, told.holder);
  }
  return [...divisions]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { weights, counts, owners }]) => ({
      name,
      members: [...weights].map(([id, weight]) => ({ id, weight, holds: shardsOf(id, owners) })),
      counts: [...counts].sort((a, b) => a - b),
      owners,
    }));
}

function shardsOf(member: string, owners: ReadonlyMap<number, string>): number {
  return [...owners.values()].filter((owner) => owner === member).length;
}
