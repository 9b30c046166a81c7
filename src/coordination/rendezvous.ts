import { finalise64, fnv1a64 } from "./uint64.ts";

/** Somebody who may be responsible: by its id alone, or with a share. */
export type RendezvousMember = string | { readonly id: string; readonly weight: number };

interface Scored {
  readonly id: string;
  readonly score: number;
}

/**
 * The member that is responsible for a key: the same one for everybody who knows the same members, in whatever order. A member that
 * goes moves only its own keys, one that comes takes keys and moves no others. Shares follow the weights; weight 0 gets nothing.
 *
 * Highest random weight (Thaler and Ravishankar, 1996), weighted by -w / ln u (Schindelhauer and Schomaker, 2005).
 *
 * @param members - ids have weight 1. A member that comes twice counts once, with the greatest of its weights. Ids should be well-formed
 *   texts: lone surrogates are one and the same in UTF-8.
 * @returns undefined where nobody can be.
 * @throws RangeError for a weight that is negative or no finite number.
 * @example
 * ```ts
 * const node = rendezvous("shard-17", ["node-a", { id: "node-b", weight: 2 }]);
 * ```
 */
export function rendezvous(key: string, members: Iterable<RendezvousMember>): string | undefined {
  let best: Scored | undefined;
  for (const scored of scores(key, members)) if (best === undefined || order(scored, best) < 0) best = scored;
  return best?.id;
}

/**
 * All members in the order in which they are responsible for a key: the next one takes over where those before it are gone. Those of weight
 * 0 are left out.
 * @throws RangeError as {@link rendezvous} does.
 */
export function rendezvousRank(key: string, members: Iterable<RendezvousMember>): string[] {
  return scores(key, members)
    .sort(order)
    .map(({ id }) => id);
}

function scores(key: string, members: Iterable<RendezvousMember>): Scored[] {
  const weights = new Map<string, number>();
  for (const member of members) {
    const { id, weight } = typeof member === "string" ? { id: member, weight: 1 } : member;
    if (typeof weight !== "number" || !Number.isFinite(weight) || weight < 0)
      throw new RangeError(`rendezvous: the weight of "${id}" must be a finite number that is not negative.`);
    // Not the last one: the order must not matter.
    weights.set(id, Math.max(weight, weights.get(id) ?? 0));
  }
  const scored: Scored[] = [];
  for (const [id, weight] of weights) if (weight > 0) scored.push({ id, score: -weight / Math.log(chance(key, id)) });
  return scored;
}

/** The highest score first; of equals the lower id, so that all agree. */
function order(a: Scored, b: Scored): number {
  return b.score - a.score || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** A number in (0, 1) of 53 bits, the same for the same two. */
function chance(key: string, id: string): number {
  const { high, low } = finalise64(fnv1a64(key, id));
  const bits = high * 2 ** 21 + (low >>> 11);
  return (bits === 0 ? 0.5 : bits) / 2 ** 53;
}
