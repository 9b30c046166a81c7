import type { ResourceRecord, ResourceRow } from "evenkeel";

/** A worker, as clients see it. */
export interface ResourceView extends Pick<ResourceRow, "id" | "incarnation" | "state"> {
  /** The process id. */
  readonly externalId?: string | undefined;
  readonly heartbeatAgeMs?: number | undefined;
  readonly reason?: string | undefined;
}

/** The view of a row. */
export function resourceView(row: ResourceRow | ResourceRecord): ResourceView {
  const { id, incarnation, state, externalId, lastHeartbeatAt, reason } = row;
  return {
    id,
    incarnation,
    state,
    externalId,
    // Both by the store's clock.
    heartbeatAgeMs:
      lastHeartbeatAt === undefined || !("readAt" in row) ? undefined : Math.max(0, row.readAt - lastHeartbeatAt),
    reason,
  };
}
