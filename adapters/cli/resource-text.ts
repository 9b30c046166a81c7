import type { ResourceRow } from "../../src/store.ts";
import { durationText } from "./duration-text.ts";

/** A row as JSON, without its spec. Ages and what is left are as of when the row was read, by the store's clock. */
export function resourceJson(row: ResourceRow): Readonly<Record<string, string | number>> {
  const { group, id, incarnation, state, externalId, generation, reason, attempt, fencingToken, version } = row;
  const { createdAt, stateChangedAt, provisionedAt, lastHeartbeatAt, terminatedAt, leaseExpiresAt, readAt } = row;
  return {
    ...{ group, id, incarnation, state, generation, attempt, fencingToken, version, createdAt, stateChangedAt },
    ...(externalId === undefined ? {} : { externalId }),
    ...(reason === undefined ? {} : { reason }),
    ...(provisionedAt === undefined ? {} : { provisionedAt }),
    ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt, heartbeatAgeMs: readAt - lastHeartbeatAt }),
    ...(terminatedAt === undefined ? {} : { terminatedAt }),
    ...(leaseExpiresAt === undefined ? {} : { leaseRemainingMs: leaseExpiresAt - readAt }),
    readAt,
  };
}

/** How long ago the last heartbeat was; a dash where there never was one. */
export function heartbeatText({ lastHeartbeatAt, readAt }: ResourceRow): string {
  return lastHeartbeatAt === undefined ? "-" : `${durationText(readAt - lastHeartbeatAt)} ago`;
}

/** What is left of the lease of whoever acts on the row; a dash where nobody does. */
export function leaseText({ leaseExpiresAt, readAt }: ResourceRow): string {
  if (leaseExpiresAt === undefined) return "-";
  const leftMs = leaseExpiresAt - readAt;
  return leftMs > 0 ? durationText(leftMs) : `lapsed ${durationText(-leftMs)} ago`;
}
