import type { ObservedResource } from "./observation.ts";
import type { ObservedItem } from "./slot.ts";

/** What tells the observed resources of one id apart. */
export function identityOf({ incarnation, externalId }: ObservedResource): string {
  return incarnation === undefined ? `e${externalId ?? ""}` : `i${incarnation}`;
}

/** A beat from the future is one of the moment when it was first told; one that is older than the last tells nothing. */
export function observedItem(item: ObservedResource, before: readonly ObservedItem[], nowMs: number): ObservedItem {
  const { lastHeartbeatAt } = item;
  if (lastHeartbeatAt === undefined) return item;
  const last = before.find((other) => identityOf(other) === identityOf(item));
  // Also one that the clock has fallen behind since.
  const lastAt = last?.beatAt === undefined ? undefined : Math.min(last.beatAt, nowMs);
  const isNews = lastAt === undefined || (lastHeartbeatAt !== last?.lastHeartbeatAt && lastHeartbeatAt > lastAt);
  return { ...item, beatAt: isNews ? Math.min(lastHeartbeatAt, nowMs) : lastAt };
}

/** Whether nothing changed that a verdict depends on; beats are looked at by time. */
export function isSameSight(a: readonly ObservedItem[], b: readonly ObservedItem[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((item, index) => {
    const other = b[index];
    return (
      other !== undefined &&
      identityOf(item) === identityOf(other) &&
      item.externalId === other.externalId &&
      item.healthy === other.healthy
    );
  });
}
