import { type GroupRecord, type ResourceRecord, type ResourceRows, resourceRowOf } from "./resource-record.ts";
import type { HeartbeatRequest, HeartbeatResult, StaleBeforeRequest, StaleResources } from "./store.ts";

/** {@link ResourceStore.heartbeat}: the batch in its order. */
export function decideBeats(
  group: GroupRecord | undefined,
  { beats }: HeartbeatRequest,
  rows: ResourceRows,
  nowMs: number,
): HeartbeatResult[] {
  return beats.map(({ id, incarnation }) => {
    const newest = rows.newest(id);
    const named = incarnation ?? newest?.incarnation;
    const known = named === newest?.incarnation ? newest : rows.load(id, named as number);
    const status = decideBeat(group, newest, known, named);
    // The store's time, also where it is before the last beat: a clock that was ahead must not keep the row fresh for ever.
    if (status === "accepted") rows.save({ ...(known as ResourceRecord), lastHeartbeatAt: nowMs });
    return { status };
  });
}

/**
 * What one heartbeat is answered.
 * @param newest - the newest incarnation of the id.
 * @param known - the incarnation that beats.
 * @param named - its number; absent where the newest was meant and there is none.
 */
export function decideBeat(
  group: GroupRecord | undefined,
  newest: ResourceRecord | undefined,
  known: ResourceRecord | undefined,
  named: number | undefined,
): HeartbeatResult["status"] {
  switch (known?.state) {
    case "PENDING":
    case "PROVISIONED":
      return "accepted";
    case "TERMINATING":
      return known.incarnation === newest?.incarnation ? "accepted" : "superseded";
    case "FAILED":
    case "TERMINATED":
      return "superseded";
  }
  if (named === undefined) return "missing";
  // At or below the floor nothing is ever made again: whoever beats from there was purged.
  const isPast = named < (newest?.incarnation ?? 0) || named <= (group?.floor ?? 0);
  return isPast ? "superseded" : "missing";
}

/** The last sign of life: the key of the index behind `staleBefore`, over the PROVISIONED rows. */
export function silentSince({ lastHeartbeatAt, provisionedAt, createdAt }: ResourceRecord): number {
  return lastHeartbeatAt ?? provisionedAt ?? createdAt;
}

/** Whether the last sign of life is strictly more than `ageMs` ago. */
export function isSilent(record: ResourceRecord, ageMs: number, nowMs: number): boolean {
  return nowMs - silentSince(record) > ageMs;
}

/**
 * {@link ResourceStore.staleBefore}.
 * @param longestSilent - the PROVISIONED rows that are silent for longest, in this order: those that are stale, up to `limit`, and
 *   the one behind them.
 */
export function staleAnswer(
  longestSilent: readonly ResourceRecord[],
  { ageMs, limit }: StaleBeforeRequest,
  nowMs: number,
): StaleResources {
  const stale = longestSilent.slice(0, limit).filter((record) => isSilent(record, ageMs, nowMs));
  const next = longestSilent[stale.length];
  return {
    rows: stale.map((record) => resourceRowOf(record, nowMs)),
    // At exactly `ageMs` it is not in yet. One that only `limit` kept out is in at once.
    ...(next === undefined ? {} : { nextInMs: Math.max(0, silentSince(next) + ageMs + 1 - nowMs) }),
  };
}
