import type { ResourceRow } from "../store.ts";
import type { ObservedResource } from "./observation.ts";

/** What is wanted at a slot. */
export interface WantedSpec {
  /** As it stands in the ledger. */
  readonly spec?: string;
  readonly deletionCost?: number;
}

/** Something observed, and the moment since which it has been said to have beaten so. */
export interface ObservedItem extends ObservedResource {
  /** `lastHeartbeatAt`, or when it was first seen where that was before it: a beat from the future is one of now. */
  readonly beatAt?: number;
}

/** All that is known of one id: what is wanted there, what the ledger holds, what was observed. */
export interface Slot {
  readonly id: string;
  /** The incarnations that the ledger keeps, oldest first. */
  readonly rows: readonly ResourceRow[];
  /** Absent: it is not in the desired state as far as that is known. */
  readonly wanted?: WantedSpec;
  /** What it cost to delete when it was last wanted. */
  readonly lastCost?: number;
  /** Empty where the ledger's own rows are the observation. */
  readonly items: readonly ObservedItem[];
}

/** The row of the highest incarnation. */
export function newestOf({ rows }: Slot): ResourceRow | undefined {
  return rows.at(-1);
}

/** Whether a row stands for something that exists, or may. */
export function isLive({ state }: ResourceRow): boolean {
  return state !== "TERMINATED";
}

/** An item that belongs to no row. */
export interface Stray {
  readonly incarnation: number;
  readonly externalId?: string;
}

/** Whose the observed items of a slot are. */
export interface Matches {
  /** Items by the incarnation of their row. */
  readonly byIncarnation: ReadonlyMap<number, ObservedItem>;
  readonly strays: readonly Stray[];
}

/**
 * Assigns observed items to rows: by incarnation, else by what `create` called them, else to the newest row. One that is called by a
 * name that no row knows counts as the newest all the same, unless another one is that: names that do not fit are more often a
 * mistake than a stranger.
 */
export function matchItems({ rows, items }: Pick<Slot, "rows" | "items">): Matches {
  const byIncarnation = new Map<number, ObservedItem>();
  const unmatched: ObservedItem[] = [];
  for (const item of items) {
    const row = rowOf(rows, item);
    if (row === undefined) unmatched.push(item);
    else byIncarnation.set(row.incarnation, item);
  }
  const newest = rows.at(-1);
  const strays: Stray[] = [];
  for (const item of unmatched) {
    const { externalId, incarnation } = item;
    if (incarnation === undefined && newest !== undefined && isLive(newest) && !byIncarnation.has(newest.incarnation)) {
      byIncarnation.set(newest.incarnation, item);
      continue;
    }
    strays.push({
      incarnation: incarnation ?? newest?.incarnation ?? 0,
      ...(externalId === undefined ? {} : { externalId }),
    });
  }
  return { byIncarnation, strays };
}

function rowOf(rows: readonly ResourceRow[], { incarnation, externalId }: ObservedItem): ResourceRow | undefined {
  if (incarnation !== undefined) return rows.find((row) => row.incarnation === incarnation);
  if (externalId === undefined) return rows.at(-1);
  return rows.findLast((row) => row.externalId === externalId);
}
