import type { ResourceRow } from "../store.ts";

/** The reason of a tombstone of which nothing is known but that an incarnation after it was found. */
export const LOST_REASON = "Lost";
/** Up to so many tombstones are made to adopt a resource under its own number. */
const MOST_LOST = 100;

/** Whether the newest row of an id is no more than a number that was counted up for one that was about to be adopted. */
export function isLostRow({ state, reason }: ResourceRow): boolean {
  return state === "TERMINATED" && reason === LOST_REASON;
}

/**
 * The incarnation that a found resource is adopted as.
 * @param after - the newest in the ledger; 0 where there is none.
 * @param observed - what the resource says it is, if it does.
 */
export function adoptedIncarnation(after: number, observed: number): number {
  const isNear = observed > after && observed - after - 1 <= MOST_LOST;
  return isNear ? observed : after + 1;
}
