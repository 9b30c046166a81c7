import type { LeaseView } from "../store.ts";
import { type DivisionLease, divisionLeaseOf } from "./division-lease.ts";

/** Who takes part in a division. */
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
  /** Who is no member any more, and holds shards until what runs in them is over or their leases lapse. */
  readonly left: readonly Omit<DivisionMember, "weight">[];
  /** How many shards there are, as members and holders say, by size; more than one number where they don't agree. */
  readonly counts: readonly number[];
  /** The holder of each shard that is held. */
  readonly owners: ReadonlyMap<number, string>;
}

/** The divisions that leases tell of, by name. Those that no `ShardCoordinator` can have taken are nobody's. */
export function divisionsOf(leases: readonly LeaseView[]): Division[] {
  const parts = new Map<string, DivisionLease[]>();
  for (const lease of leases) {
    const part = divisionLeaseOf(lease);
    if (part === undefined) continue;
    const known = parts.get(part.division);
    if (known === undefined) parts.set(part.division, [part]);
    else known.push(part);
  }
  return [...parts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, own]) => divisionOf(name, own));
}

function divisionOf(name: string, parts: readonly DivisionLease[]): Division {
  const weights = new Map<string, number>();
  const owners = new Map<number, string>();
  for (const part of parts) {
    if (part.kind === "member") weights.set(part.member, part.weight);
    else owners.set(part.shard, part.holder);
  }
  const holdings = new Map<string, number>();
  for (const holder of owners.values()) holdings.set(holder, (holdings.get(holder) ?? 0) + 1);
  return {
    name,
    members: [...weights].map(([id, weight]) => ({ id, weight, holds: holdings.get(id) ?? 0 })),
    left: [...holdings].flatMap(([id, holds]) => (weights.has(id) ? [] : [{ id, holds }])),
    counts: [...new Set(parts.map(({ shards }) => shards))].sort((a, b) => a - b),
    owners,
  };
}
