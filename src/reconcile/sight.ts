import type { ObservedResource } from "./observation.ts";
import type { ObservedItem } from "./slot.ts";

/** Of how many resources of one id that an incomplete answer lacks the beats are kept. */
const MOST_HEARD = 8;

/** What tells the observed resources of one id apart: two of one incarnation are two, if they are called differently. */
export function identityOf({ incarnation, externalId }: ObservedResource): string {
  return `${incarnation ?? ""}/${externalId ?? ""}`;
}

/** A beat from the future is one of the moment when it was first told; one that is older than the last tells nothing, like none. */
export function observedItem(item: ObservedResource, before: readonly ObservedItem[], nowMs: number): ObservedItem {
  const { lastHeartbeatAt } = item;
  const last = before.find((other) => identityOf(other) === identityOf(item));
  // Also one that the clock has fallen behind since.
  const lastAt = last?.beatAt === undefined ? undefined : Math.min(last.beatAt, nowMs);
  if (lastHeartbeatAt === undefined) return lastAt === undefined ? item : { ...item, beatAt: lastAt };
  const isNews = lastAt === undefined || (lastHeartbeatAt !== last?.lastHeartbeatAt && lastHeartbeatAt > lastAt);
  return { ...item, beatAt: isNews ? Math.min(lastHeartbeatAt, nowMs) : lastAt };
}

/** The items of an answer that is not complete, and what was heard before of those that it lacks. */
export function stillHeard(items: readonly ObservedItem[], before: readonly ObservedItem[]): readonly ObservedItem[] {
  const lacking = before.filter(
    (heard) => heard.beatAt !== undefined && !items.some((item) => identityOf(item) === identityOf(heard)),
  );
  return lacking.length === 0 ? items : [...items, ...lacking.slice(-MOST_HEARD)];
}

/** Whether nothing changed that a verdict depends on; beats are looked at by time. */
export function isSameSight(a: readonly ObservedItem[], b: readonly ObservedItem[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((item, index) => {
    const other = b[index];
    return other !== undefined && identityOf(item) === identityOf(other) && item.healthy === other.healthy;
  });
}
