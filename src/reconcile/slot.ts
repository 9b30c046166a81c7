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
  readonly wanted?: WantedSpec | undefined;
  /** What it cost to delete when it was last wanted. */
  readonly lastCost?: number | undefined;
  /** Empty where the ledger's own rows are the observation. */
  readonly items: readonly ObservedItem[];
  /** The items, and those that the last answers lacked without being complete: of beats, not of existence. Defaults to the items. */
  readonly heard?: readonly ObservedItem[];
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
  /** By incarnation and external id, whatever order they were observed in. */
  readonly strays: readonly Stray[];
  /** One of the items says of itself nothing but its id: it may be of another live row than the one that it was given to. */
  readonly isAmbiguous: boolean;
}

const NO_MATCHES: Matches = Object.freeze({ byIncarnation: new Map(), strays: [], isAmbiguous: false });

/**
 * Assigns observed items to rows: by what `create` called them, else by incarnation, else to the newest row that lives. Two of one
 * incarnation are two resources, if they are called differently: of these the one that the row does not know is a stray. Where there
 * is no other, an item counts as the row of its incarnation whatever it is called, because names that do not fit are more often a
 * mistake than a stranger. Two kinds of items count as the newest all the same, unless another one is that: those that are called
 * by a name that no row knows and say no incarnation, and those of an incarnation that the ledger has not come to yet, because
 * they were made from a ledger that was lost.
 */
export function matchItems({ rows, items }: Pick<Slot, "rows" | "items">): Matches {
  if (items.length === 0) return NO_MATCHES;
  const byIncarnation = new Map<number, ObservedItem>();
  const newest = rows.at(-1);
  const sorted = items.length === 1 ? items : [...items].sort(byIdentity);
  const unnamed = assigned(sorted, byIncarnation, (item) => namedRow(rows, item), isTheSame);
  const unmatched = assigned(unnamed, byIncarnation, (item) => rowOf(rows, item), isAlike);
  const strays: Stray[] = [];
  let isAmbiguous = false;
  for (const item of unmatched) {
    if (newest !== undefined && isNameless(item)) {
      isAmbiguous ||= rows.filter(isLive).length > 1;
      const row = namelessRow(rows, byIncarnation);
      if (row !== undefined) byIncarnation.set(row.incarnation, item);
    } else if (newest !== undefined && isNewestAllTheSame(newest, item) && !byIncarnation.has(newest.incarnation)) {
      byIncarnation.set(newest.incarnation, item);
    } else {
      strays.push(strayOf(item, newest));
    }
  }
  return { byIncarnation, strays, isAmbiguous };
}

/**
 * Gives items to the rows that are theirs.
 * @param isRepeated - whether an item whose row has one already only says that again.
 * @returns those that are of no row.
 */
function assigned(
  items: readonly ObservedItem[],
  byIncarnation: Map<number, ObservedItem>,
  rowFor: (item: ObservedItem) => ResourceRow | undefined,
  isRepeated: (item: ObservedItem, taken: ObservedItem) => boolean,
): readonly ObservedItem[] {
  return items.filter((item) => {
    const row = rowFor(item);
    if (row === undefined) return true;
    const taken = byIncarnation.get(row.incarnation);
    if (taken === undefined) byIncarnation.set(row.incarnation, item);
    return taken !== undefined && !isRepeated(item, taken);
  });
}

/** The row that goes by the item's name; of several the one of its incarnation, else the last. */
function namedRow(rows: readonly ResourceRow[], item: ObservedItem): ResourceRow | undefined {
  const { incarnation, externalId } = item;
  const own = rowOf(rows, item);
  // What it is called is not known yet; its predecessor may have gone by the same name.
  if (externalId === undefined || (own !== undefined && own.externalId === undefined)) return undefined;
  const named = rows.filter((row) => row.externalId === externalId);
  return named.find((row) => row.incarnation === incarnation) ?? named.at(-1);
}

function rowOf(rows: readonly ResourceRow[], { incarnation }: ObservedItem): ResourceRow | undefined {
  return incarnation === undefined ? undefined : rows.find((row) => row.incarnation === incarnation);
}

/** Of one name. */
function isTheSame(): boolean {
  return true;
}

/** Whether two items of one row may be the same resource. */
function isAlike(item: ObservedItem, taken: ObservedItem): boolean {
  return item.externalId === undefined || taken.externalId === undefined || item.externalId === taken.externalId;
}

/** What was last heard of a row, in an answer that lacks it, too, if that was not complete. */
export function heardOf({ rows, items, heard = items }: Slot, { incarnation }: ResourceRow): ObservedItem | undefined {
  return matchItems({ rows, items: heard }).byIncarnation.get(incarnation);
}

/** Whether an observed item says nothing of itself but its id. */
export function isNameless({ incarnation, externalId }: ObservedResource): boolean {
  return incarnation === undefined && externalId === undefined;
}

/** The newest row that lives and was not observed otherwise, and is not being ended if it can be; where none lives, the last that did. */
function namelessRow(rows: readonly ResourceRow[], seen: ReadonlyMap<number, unknown>): ResourceRow | undefined {
  const free = rows.filter(({ incarnation }) => !seen.has(incarnation));
  const stays = free.findLast((row) => isLive(row) && row.state !== "TERMINATING");
  return stays ?? free.findLast(isLive) ?? (rows.some(isLive) ? undefined : free.at(-1));
}

function isNewestAllTheSame(newest: ResourceRow, { incarnation }: ObservedItem): boolean {
  return isLive(newest) && (incarnation === undefined || incarnation > newest.incarnation);
}

function strayOf({ incarnation, externalId }: ObservedItem, newest: ResourceRow | undefined): Stray {
  return {
    incarnation: incarnation ?? newest?.incarnation ?? 0,
    ...(externalId === undefined ? {} : { externalId }),
  };
}

function byIdentity(a: ObservedItem, b: ObservedItem): number {
  const [nameA, nameB] = [a.externalId ?? "", b.externalId ?? ""];
  return (a.incarnation ?? 0) - (b.incarnation ?? 0) || (nameA === nameB ? 0 : nameA < nameB ? -1 : 1);
}
