import type { DesiredState, Fence, ResourceRow } from "./store.ts";

/**
 * What a store keeps of one incarnation of a resource. `terminatedAt` and `readAt` are not kept, see {@link resourceRowOf}.
 *
 * The protocol of resources is told as pure decisions, as `execution-record.ts` does for executions: in `resource-writes.ts`,
 * `resource-heartbeats.ts` and `resource-changes.ts`. The embedded stores execute them inside a transaction of theirs; the
 * remote ones say the same in SQL and Lua.
 */
export interface ResourceRecord extends Omit<ResourceRow, "terminatedAt" | "readAt"> {
  /** Of the last applied write, to know it again. */
  readonly nonce: string;
  /** The group's number of the last applied write: the key of the index behind `changedSince`. Heartbeats leave it. */
  readonly sequence: number;
}

/** What a store keeps of a group. It appears with the first `setDesired` or `apply`, and stays. */
export interface GroupRecord {
  readonly group: string;
  /**
   * Tells this ledger's group from one of the same name in a ledger that was lost: of all marks that ever were, none is equal.
   * Holds no colon.
   */
  readonly mark: string;
  /** The highest epoch seen. */
  readonly epoch: number;
  readonly generation: number;
  readonly desired?: string;
  /** The nonce by which that was set. */
  readonly desiredNonce?: string;
  readonly status?: string;
  /**
   * How many writes were applied to rows of the group. Because every write counts it up in the step that checks the epoch, in
   * engines with concurrent transactions too (they lock the group for it), numbers appear to readers in their order, and
   * `changedSince` misses none.
   */
  readonly sequence: number;
  /**
   * The highest incarnation that was ever purged from the group: every later creation is above it. An incarnation of a purged
   * id must not come back, or its zombie would be taken for the new one; one number for the whole group does that
   * without keeping something for every id for ever. The price is that incarnations of new ids skip numbers.
   */
  readonly floor: number;
}

/** What decisions need besides what is stored. */
export interface ResourceContext {
  /** Whole milliseconds by the store's clock; the same for all of a batch. */
  readonly nowMs: number;
  /** Takes a number higher than all before it, across delete and purge; called only where one is needed. */
  nextToken(): number;
}

/** The rows of one group, as the step sees them: what was saved before is read back. */
export interface ResourceRows {
  /** That incarnation. */
  load(id: string, incarnation: number): ResourceRecord | undefined;
  /** The highest incarnation of the id that is kept. */
  newest(id: string): ResourceRecord | undefined;
  save(record: ResourceRecord): void;
}

/** The rows of a group, and the epochs of its parts. */
export interface FencedRows extends ResourceRows {
  /** The highest epoch seen in the part of that name; nothing where there was none. */
  loadFence(name: string): number | undefined;
  saveFence(fence: Fence): void;
}

/** An answer, and the group to store with it; absent to leave it as it is. */
export interface GroupDecision<Result> {
  readonly result: Result;
  readonly write?: GroupRecord;
}

/** While it is being made. */
export type Mutable<T> = { -readonly [Field in keyof T]: T[Field] };

/** {@link ResourceStore.getDesired}. */
export function desiredOf(stored: GroupRecord | undefined): DesiredState {
  if (stored === undefined) return { generation: 0, epoch: 0 };
  const { generation, desired, status, epoch } = stored;
  return {
    generation,
    ...(desired === undefined ? {} : { desired }),
    ...(status === undefined ? {} : { status }),
    epoch,
  };
}

/** The row as a reader sees it. It was terminated when it became what it is, if that is TERMINATED. */
export function resourceRowOf(record: ResourceRecord, nowMs: number): ResourceRow {
  // Field by field: what a spread or a rest makes is several times as slow and as large, and there may be a million.
  const row: Mutable<ResourceRow> = {
    group: record.group,
    id: record.id,
    incarnation: record.incarnation,
    state: record.state,
    generation: record.generation,
    attempt: record.attempt,
    fencingToken: record.fencingToken,
    createdAt: record.createdAt,
    stateChangedAt: record.stateChangedAt,
    version: record.version,
    readAt: nowMs,
  };
  const { spec, externalId, reason, provisionedAt, lastHeartbeatAt, leaseExpiresAt } = record;
  if (provisionedAt !== undefined) row.provisionedAt = provisionedAt;
  if (externalId !== undefined) row.externalId = externalId;
  if (spec !== undefined) row.spec = spec;
  if (reason !== undefined) row.reason = reason;
  if (lastHeartbeatAt !== undefined) row.lastHeartbeatAt = lastHeartbeatAt;
  if (leaseExpiresAt !== undefined) row.leaseExpiresAt = leaseExpiresAt;
  if (record.state === "TERMINATED") row.terminatedAt = record.stateChangedAt;
  return row;
}

/** Whether {@link ResourceStore.purge} may delete the row. */
export function isPurgeable({ state, stateChangedAt }: ResourceRecord, ageMs: number, nowMs: number): boolean {
  return state === "TERMINATED" && nowMs - stateChangedAt >= ageMs;
}

/** The group to store in the step that deletes these rows. */
export function afterPurge(group: GroupRecord, purged: readonly { readonly incarnation: number }[]): GroupRecord {
  const floor = purged.reduce((highest, { incarnation }) => Math.max(highest, incarnation), group.floor);
  return floor === group.floor ? group : { ...group, floor };
}

/** By id and then by incarnation: the order of `list`. */
export function compareRows(
  a: { readonly id: string; readonly incarnation: number },
  b: { readonly id: string; readonly incarnation: number },
): number {
  return compareCodePoints(a.id, b.id) || a.incarnation - b.incarnation;
}

/**
 * Compares two texts by their code points, which is the order of their UTF-8 bytes: that of `COLLATE "C"`, of SQLite's BINARY and
 * of Redis' sorted sets. The `<` of JavaScript compares UTF-16 units, which puts characters beyond U+FFFF before U+E000.
 */
export function compareCodePoints(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const difference = codePointOrder(a.charCodeAt(index)) - codePointOrder(b.charCodeAt(index));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Surrogates, which stand for all beyond U+FFFF, above the rest. */
function codePointOrder(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
