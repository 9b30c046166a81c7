import { recordCorrupt } from "../../src/execution-record.ts";
import { silentSince } from "../../src/resource-heartbeats.ts";
import type { GroupRecord, ResourceRecord } from "../../src/resource-record.ts";
import type { ResourceState } from "../../src/store.ts";
import type { SqliteValue } from "./sqlite-handle.ts";
import { optional, positive, text, whole } from "./sqlite-rows.ts";
import { originalText, storedText } from "./stored-texts.ts";

/** The layout of the rows of groups and of resources. A row of another one is `RECORD_CORRUPT`. */
export const RESOURCE_FORMAT = 1;

/** The columns of a row of groups, in the order of {@link groupRowOf}. */
export const GROUP_COLUMNS = [
  "name",
  "format",
  "mark",
  "epoch",
  "generation",
  "desired",
  "desired_nonce",
  "status",
  "sequence",
  "floor",
] as const;

export function groupRowOf(record: GroupRecord): SqliteValue[] {
  const { group, mark, epoch, generation, desired, desiredNonce = null, status, sequence, floor } = record;
  const wish = [generation, stored(desired), desiredNonce] as const;
  return [group, RESOURCE_FORMAT, mark, epoch, ...wish, stored(status), sequence, floor];
}

/** @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write. */
export function groupOf(row: unknown): GroupRecord {
  const columns = row as Record<string, unknown>;
  if (columns["format"] !== RESOURCE_FORMAT) throw recordCorrupt("it has an unknown format");
  const desired = optional(original, columns, "desired");
  const desiredNonce = optional(text, columns, "desired_nonce");
  const status = optional(original, columns, "status");
  return {
    group: text(columns, "name"),
    mark: text(columns, "mark"),
    epoch: whole(columns, "epoch"),
    generation: whole(columns, "generation"),
    ...(desired === undefined ? {} : { desired }),
    ...(desiredNonce === undefined ? {} : { desiredNonce }),
    ...(status === undefined ? {} : { status }),
    sequence: whole(columns, "sequence"),
    floor: whole(columns, "floor"),
  };
}

/** @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write. */
export function fenceEpochOf(row: unknown): number {
  return whole(row as Record<string, unknown>, "epoch");
}

/** The columns of a row of resources, in the order of {@link resourceColumnsOf}. Long texts come last. */
export const RESOURCE_COLUMNS = [
  "group_name",
  "id",
  "incarnation",
  "format",
  "state",
  "generation",
  "attempt",
  "fencing_token",
  "created_at",
  "state_changed_at",
  "provisioned_at",
  "last_heartbeat_at",
  "silent_since",
  "lease_expires_at",
  "version",
  "nonce",
  "sequence",
  "external_id",
  "reason",
  "spec",
] as const;

export function resourceColumnsOf(record: ResourceRecord): SqliteValue[] {
  return [
    record.group,
    record.id,
    record.incarnation,
    RESOURCE_FORMAT,
    record.state,
    record.generation,
    record.attempt,
    record.fencingToken,
    record.createdAt,
    record.stateChangedAt,
    record.provisionedAt ?? null,
    record.lastHeartbeatAt ?? null,
    record.state === "PROVISIONED" ? silentSince(record) : null,
    record.leaseExpiresAt ?? null,
    record.version,
    record.nonce,
    record.sequence,
    stored(record.externalId),
    stored(record.reason),
    stored(record.spec),
  ];
}

const STATES: readonly unknown[] = [
  "PENDING",
  "PROVISIONED",
  "FAILED",
  "TERMINATING",
  "TERMINATED",
] satisfies ResourceState[];

/** @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write. */
export function resourceOf(row: unknown): ResourceRecord {
  const columns = row as Record<string, unknown>;
  const { format, state } = columns;
  if (format !== RESOURCE_FORMAT) throw recordCorrupt("it has an unknown format");
  if (!STATES.includes(state)) throw recordCorrupt("its state is unknown");
  const spec = optional(original, columns, "spec");
  const externalId = optional(original, columns, "external_id");
  const reason = optional(original, columns, "reason");
  const provisionedAt = optional(whole, columns, "provisioned_at");
  const lastHeartbeatAt = optional(whole, columns, "last_heartbeat_at");
  const leaseExpiresAt = optional(whole, columns, "lease_expires_at");
  return {
    group: text(columns, "group_name"),
    id: text(columns, "id"),
    incarnation: positive(columns, "incarnation"),
    state: state as ResourceState,
    ...(spec === undefined ? {} : { spec }),
    ...(externalId === undefined ? {} : { externalId }),
    generation: whole(columns, "generation"),
    ...(reason === undefined ? {} : { reason }),
    attempt: whole(columns, "attempt"),
    fencingToken: whole(columns, "fencing_token"),
    createdAt: whole(columns, "created_at"),
    stateChangedAt: whole(columns, "state_changed_at"),
    ...(provisionedAt === undefined ? {} : { provisionedAt }),
    ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt }),
    ...(leaseExpiresAt === undefined ? {} : { leaseExpiresAt }),
    version: positive(columns, "version"),
    nonce: text(columns, "nonce"),
    sequence: positive(columns, "sequence"),
  };
}

/** SQLite keeps texts as UTF-8, in which halves of surrogate pairs have no form. */
function stored(given: string | undefined): string | null {
  return given === undefined ? null : storedText(given);
}

function original(columns: Record<string, unknown>, name: string): string {
  return originalText(text(columns, name));
}
