import { rendezvous } from "./rendezvous.ts";

/**
 * Who is to hold which shard: the same for everybody who sees the same members. A member that comes or goes moves only what has to move,
 * see {@link rendezvous}.
 */
export class ShardAssignment {
  readonly #shards: number;
  #members = "[]";
  #owners: readonly (string | undefined)[] = [];

  /** @param shards - how many there are. */
  constructor(shards: number) {
    this.#shards = shards;
  }

  /** @returns whether it is another one than before. */
  update(members: readonly { readonly id: string; readonly weight: number }[]): boolean {
    const seen = JSON.stringify(members.map(({ id, weight }) => [id, weight]));
    if (seen === this.#members) return false;
    this.#members = seen;
    this.#owners = Array.from({ length: this.#shards }, (_, shard) => rendezvous(`${shard}`, members));
    return true;
  }

  /** Whether a shard is to be this member's. */
  isOf(member: string, shard: number): boolean {
    return this.#owners[shard] === member;
  }

  /** The shards of one member, in order. */
  of(member: string): number[] {
    return this.#owners.flatMap((owner, shard) => (owner === member ? [shard] : []));
  }
}
