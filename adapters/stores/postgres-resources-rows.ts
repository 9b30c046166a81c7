import type { ResourceRow } from "../../src/store.ts";
import { originalText } from "./postgres-resources-texts.ts";

/** A row of the table as JSON, with the names of its columns. */
export interface StoredRow {
  readonly group_name: string;
  readonly id: string;
  readonly incarnation: number;
  readonly state: ResourceRow["state"];
  readonly spec: string | null;
  readonly external_id: string | null;
  readonly generation: number;
  readonly reason: string | null;
  readonly attempt: number;
  readonly fencing_token: number;
  readonly created_at: number;
  readonly state_changed_at: number;
  readonly provisioned_at: number | null;
  readonly last_heartbeat_at: number | null;
  readonly lease_expires_at: number | null;
  readonly version: number;
  readonly sequence: number;
}

/** The row as a reader sees it. */
export function rowOf(row: StoredRow, now: number): ResourceRow {
  return {
    group: row.group_name,
    id: row.id,
    incarnation: row.incarnation,
    state: row.state,
    ...textOf("spec", row.spec),
    ...textOf("externalId", row.external_id),
    generation: row.generation,
    ...textOf("reason", row.reason),
    attempt: row.attempt,
    fencingToken: row.fencing_token,
    createdAt: row.created_at,
    stateChangedAt: row.state_changed_at,
    ...numberOf("provisionedAt", row.provisioned_at),
    ...numberOf("lastHeartbeatAt", row.last_heartbeat_at),
    ...(row.state === "TERMINATED" ? { terminatedAt: row.state_changed_at } : {}),
    ...numberOf("leaseExpiresAt", row.lease_expires_at),
    version: row.version,
    readAt: now,
  };
}

/** The text under its name; nothing where there is none. */
export function textOf<Name extends string>(name: Name, text: string | null): { readonly [K in Name]?: string } {
  return text === null ? {} : ({ [name]: originalText(text) } as { readonly [K in Name]?: string });
}

function numberOf<Name extends string>(name: Name, value: number | null): { readonly [K in Name]?: number } {
  return value === null ? {} : ({ [name]: value } as { readonly [K in Name]?: number });
}
