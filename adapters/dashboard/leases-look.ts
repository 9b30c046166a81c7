import type { LeaseView } from "../../src/store.ts";
import type { DivisionSummary, ElectionSummary } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";

const MOST_ELECTIONS = 100;
const MOST_DIVISIONS = 100;

/** The leases of a division: `shards:<name>/members/<member>` and `shards:<name>/shards/<shard>`, their parts escaped. */
const OF_DIVISION = /^shards:([^/]*)\/(members|shards)\/([^/]*)$/;

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
export function leasesFound(leases: readonly LeaseView[]): LeasesFound {
  const elections: ElectionSummary[] = [];
  const divisions = new Map<string, LeaseOfDivision[]>();
  for (const lease of leases) {
    const part = partOf(lease);
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

interface LeaseOfDivision {
  readonly division: string;
  readonly kind: "members" | "shards";
  /** The member, or the shard. */
  readonly of: string;
  /** The member's weight, or the shard's holder. */
  readonly says: string;
  /** How many shards its holder believes there are. */
  readonly shards: number;
}

function partOf({ name, holder }: LeaseView): LeaseOfDivision | undefined {
  const [, division, kind, of] = OF_DIVISION.exec(name) ?? [];
  const [, says, shards] = /^(.*) of (\d+)$/s.exec(holder) ?? [];
  if (division === undefined || of === undefined || says === undefined) return undefined;
  try {
    const unescaped = { division: decodeURIComponent(division), of: decodeURIComponent(of) };
    return { ...unescaped, kind: kind as LeaseOfDivision["kind"], says, shards: Number(shards) };
  } catch {
    return undefined;
  }
}

function divisionOf(name: string, parts: readonly LeaseOfDivision[]): DivisionSummary {
  const members = new Map<string, { id: string; shards: number; weight: number }>();
  for (const { of, says } of parts.filter(({ kind }) => kind === "members"))
    members.set(of, { id: of, shards: 0, weight: Number(says) });
  const held = parts.filter(({ kind }) => kind === "shards");
  for (const { says } of held) {
    // Who has left holds its shards until what runs in them is over.
    const member = members.get(says) ?? { id: says, shards: 0, weight: 0 };
    member.shards += 1;
    members.set(says, member);
  }
  const shards = Math.max(...parts.map((part) => part.shards));
  return { name, shards, unowned: Math.max(0, shards - held.length), members: [...members.values()] };
}
