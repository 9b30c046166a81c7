import type { ResourceRecord, ResourceRow } from "evenkeel";

/** A worker, as clients see it. */
export function resourceView(row: ResourceRow | ResourceRecord) {
  const { id, incarnation, state, externalId, lastHeartbeatAt, reason } = row;
  return {
    id,
    incarnation,
    state,
    /** The process id. */
    externalId,
    // Both by the store's clock.
    heartbeatAgeMs:
      lastHeartbeatAt === undefined || !("readAt" in row) ? undefined : Math.max(0, row.readAt - lastHeartbeatAt),
    reason,
  };
}
