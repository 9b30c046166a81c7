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

/** `shards:<name>/members/<member>` and `shards:<name>/shards/<number>`, held as `<weight or member> of <count>`: see `ShardLeases`. */
const NAME = /^shards:([^/]*)\/(members|shards)\/([^/]*)$/;

/** The divisions that leases tell of, by name. */
export function divisionsOf(leases: readonly LeaseView[]): Division[] {
  const divisions = new Map<
    string,
    { weights: Map<string, number>; counts: Set<number>; owners: Map<number, string> }
  >();
  for (const { name, holder } of leases) {
    const [, division, part, what] = NAME.exec(name) ?? [];
    const [, who, count] = /^(.*) of (\d+)$/s.exec(holder) ?? [];
    if (division === undefined || what === undefined || who === undefined) continue;
    const key = unescaped(division);
    const entry = divisions.get(key) ?? { weights: new Map(), counts: new Set(), owners: new Map() };
    divisions.set(key, entry);
    entry.counts.add(Number(count));
    if (part === "members") entry.weights.set(unescaped(what), Number(who));
    else entry.owners.set(Number(what), who);
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

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
