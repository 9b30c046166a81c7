import type { LeaseView } from "../store.ts";

/** What the lease of a member, or of a shard, says of a division. */
export type DivisionLease = MemberLease | ShardLease;

interface MemberLease {
  readonly kind: "member";
  readonly division: string;
  /** How many shards its holder believes there are. */
  readonly shards: number;
  readonly member: string;
  readonly weight: number;
}

interface ShardLease {
  readonly kind: "shard";
  readonly division: string;
  readonly shards: number;
  readonly shard: number;
  /** The member that holds it. */
  readonly holder: string;
}

/** What the names of all leases of divisions begin with, and no other's. */
export const DIVISIONS_PREFIX = "shards:";

/** Behind the prefix. No name can look like another's. */
const NAME = /^([^/]*)\/(members|shards)\/([^/]*)$/;
const HOLDER = /^(.*) of (\d+)$/s;
const SHARD = /^(0|[1-9]\d*)$/;

/** Whether a lease of that name is a division's; any other is an election's. */
export function isDivisionLeaseName(name: string): boolean {
  return name.startsWith(DIVISIONS_PREFIX);
}

/** What the names of the members' leases begin with. */
export function membersPrefix(division: string): string {
  return `${DIVISIONS_PREFIX}${escaped(division)}/members/`;
}

/** What the names of the shards' leases begin with; the shard's number follows. */
export function shardsPrefix(division: string): string {
  return `${DIVISIONS_PREFIX}${escaped(division)}/shards/`;
}

/** The name of a member's lease. */
export function memberLeaseName(division: string, member: string): string {
  return `${membersPrefix(division)}${escaped(member)}`;
}

/** As whom a lease is held: a member's by its weight, a shard's by the member. */
export function holderText(who: string | number, shards: number): string {
  return `${who} of ${shards}`;
}

/** Reads a lease of any name; undefined for one that no division has, or that is held as nobody of a division holds one. */
export function divisionLeaseOf({ name, holder }: Pick<LeaseView, "name" | "holder">): DivisionLease | undefined {
  if (!isDivisionLeaseName(name)) return undefined;
  const [, escapedDivision, part, of] = NAME.exec(name.slice(DIVISIONS_PREFIX.length)) ?? [];
  const [, who, count] = HOLDER.exec(holder) ?? [];
  const division = unescaped(escapedDivision);
  const member = unescaped(of);
  if (division === undefined || member === undefined || who === undefined) return undefined;
  const shards = Number(count);
  if (part === "shards") {
    const shard = Number(of);
    return SHARD.test(member) && shard < shards ? { kind: "shard", division, shards, shard, holder: who } : undefined;
  }
  const weight = Number(who);
  if (!Number.isFinite(weight) || weight < 0) return undefined;
  return { kind: "member", division, shards, member, weight };
}

/** As part of a lease's name: a text that ends where the next slash is. */
function escaped(text: string): string {
  return text.replace(/[%/]/g, encodeURIComponent);
}

function unescaped(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
