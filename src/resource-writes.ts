import { isSilent } from "./resource-heartbeats.ts";
import {
  type FencedRows,
  type GroupDecision,
  type GroupRecord,
  type Mutable,
  type ResourceContext,
  type ResourceRecord,
  resourceRowOf,
} from "./resource-record.ts";
import type {
  ApplyRequest,
  ApplyResult,
  CreateResource,
  Fence,
  ResourceWrite,
  SetDesiredRequest,
  SetDesiredResult,
  UpdateResource,
  WriteResult,
} from "./store.ts";

/**
 * Whether a writer of this epoch may write to the group at all, and the group as it is then: made where there was none, with
 * the epoch kept. The group is stored whatever comes of the writes.
 */
export function decideEpoch(
  stored: GroupRecord | undefined,
  { group, epoch }: { readonly group: string; readonly epoch: number },
  context: ResourceContext,
):
  | { readonly status: "fenced"; readonly epoch: number }
  | { readonly status: "admitted"; readonly group: GroupRecord } {
  if (stored === undefined) {
    // The counter tells groups of one ledger apart; the time tells them from those of a ledger that began to count anew.
    const mark = `${context.nextToken()}.${context.nowMs}`;
    return { status: "admitted", group: { group, mark, epoch, generation: 0, sequence: 0, floor: 0 } };
  }
  if (epoch < stored.epoch) return { status: "fenced", epoch: stored.epoch };
  return { status: "admitted", group: epoch === stored.epoch ? stored : { ...stored, epoch } };
}

/**
 * {@link ResourceStore.setDesired}. Only what depends on a generation needs the nonce of what was set last: whoever else set the same
 * text from the same generation may have meant one more than was there, as they did. Without a condition a repetition finds its own
 * text, which is answered alike and changes nothing; but one that arrives when something else was set brings its text back.
 */
export function decideDesired(
  stored: GroupRecord | undefined,
  request: SetDesiredRequest,
  context: ResourceContext,
): GroupDecision<SetDesiredResult> {
  const admission = decideEpoch(stored, request, context);
  if (admission.status === "fenced") return { result: admission };
  const { group } = admission;
  const { desired, nonce, ifGeneration } = request;
  const { generation } = group;
  const isExpected = ifGeneration === undefined || ifGeneration === generation;
  const isSet = isExpected ? group.desired === desired : group.desiredNonce === nonce;
  const write = isExpected && !isSet ? { ...group, desired, desiredNonce: nonce, generation: generation + 1 } : group;
  return {
    result: { status: isExpected || isSet ? "set" : "conflict", generation: write.generation },
    ...(write === stored ? {} : { write }),
  };
}

/** {@link ResourceStore.apply}: the batch in its order, each write over what those before it left. */
export function decideApply(
  stored: GroupRecord | undefined,
  request: ApplyRequest,
  rows: FencedRows,
  context: ResourceContext,
): GroupDecision<ApplyResult> {
  const admission = decideEpoch(stored, request, context);
  if (admission.status === "fenced") return { result: admission };
  let { group } = admission;
  if (request.status !== undefined) group = { ...group, status: request.status };
  const higher = decideFences(request.fences ?? [], rows);
  const results = request.writes.map((write): WriteResult => {
    const epoch = higher.find(({ name }) => name === write.fence)?.epoch;
    if (epoch !== undefined) return { status: "fenced", epoch };
    const known = write.kind === "create" ? rows.newest(write.id) : rows.load(write.id, write.incarnation);
    const { result, record } = decideWrite(group, known, write, context);
    if (record !== undefined) {
      rows.save(record);
      group = { ...group, sequence: record.sequence };
    }
    return result;
  });
  return {
    result: { status: "decided", results, ...(higher.length === 0 ? {} : { fences: higher }) },
    ...(group === stored ? {} : { write: group }),
  };
}

/** Keeps the epochs of a batch's fences where they are not lower than what was seen. @returns what was seen of the others. */
function decideFences(fences: readonly Fence[], rows: FencedRows): Fence[] {
  return fences.flatMap((fence) => {
    const seen = rows.loadFence(fence.name);
    if (seen !== undefined && seen > fence.epoch) return [{ name: fence.name, epoch: seen }];
    if (seen !== fence.epoch) rows.saveFence(fence);
    return [];
  });
}

/** An answer, and the row to store with it: its `sequence` is the group's from then on. */
export interface WriteDecision {
  readonly result: WriteResult;
  readonly record?: ResourceRecord;
}

/**
 * One compare-and-swap of a batch whose epoch was admitted.
 * @param known - for a creation the newest incarnation of the id, for an update the one that it names.
 */
export function decideWrite(
  group: GroupRecord,
  known: ResourceRecord | undefined,
  write: ResourceWrite,
  context: ResourceContext,
): WriteDecision {
  const { nowMs } = context;
  if (known !== undefined && isRepetition(known, write)) return applied(known, nowMs);
  if (write.kind === "create") {
    if ((known?.incarnation ?? 0) !== write.after) return conflict(known, nowMs);
    const record = created(group, known, write, context);
    return { ...applied(record, nowMs), record };
  }
  if (known === undefined || known.version !== write.expectedVersion) return conflict(known, nowMs);
  const { ifSilentForMs } = write;
  if (ifSilentForMs !== undefined && !isSilent(known, ifSilentForMs, nowMs)) return conflict(known, nowMs);
  const record = updated(group, known, write, context);
  return { ...applied(record, nowMs), record };
}

/**
 * Whether this very write was applied, and nothing was since: its answer was lost. Heartbeats in between do not matter, they
 * leave the version.
 */
function isRepetition(known: ResourceRecord, write: ResourceWrite): boolean {
  const versionThen = write.kind === "create" ? 1 : write.expectedVersion + 1;
  return known.nonce === write.nonce && known.version === versionThen;
}

function created(
  group: GroupRecord,
  newest: ResourceRecord | undefined,
  write: CreateResource,
  context: ResourceContext,
): ResourceRecord {
  const { nowMs } = context;
  const kept: Kept = {
    group: group.group,
    id: write.id,
    // Above the floor also where older incarnations are kept: one between them and the floor may have been purged.
    incarnation: Math.max(newest?.incarnation ?? 0, group.floor) + 1,
    fencingToken: 0,
    createdAt: nowMs,
    stateChangedAt: nowMs,
    provisionedAt: write.state === "PROVISIONED" ? nowMs : undefined,
    lastHeartbeatAt: undefined,
    version: 1,
    sequence: group.sequence + 1,
  };
  return written(kept, write, context);
}

function updated(
  group: GroupRecord,
  known: ResourceRecord,
  write: UpdateResource,
  context: ResourceContext,
): ResourceRecord {
  const { nowMs } = context;
  const kept: Kept = {
    group: known.group,
    id: known.id,
    incarnation: known.incarnation,
    fencingToken: known.fencingToken,
    createdAt: known.createdAt,
    stateChangedAt: write.state === known.state ? known.stateChangedAt : nowMs,
    provisionedAt: known.provisionedAt ?? (write.state === "PROVISIONED" ? nowMs : undefined),
    lastHeartbeatAt: known.lastHeartbeatAt,
    version: known.version + 1,
    sequence: group.sequence + 1,
  };
  return written(kept, write, context);
}

/** What of a row a write does not say itself. */
interface Kept {
  readonly group: string;
  readonly id: string;
  readonly incarnation: number;
  /** Of the last grant: it stays when the lease is kept, and when nobody holds the row any more. */
  readonly fencingToken: number;
  readonly createdAt: number;
  readonly stateChangedAt: number;
  readonly provisionedAt: number | undefined;
  readonly lastHeartbeatAt: number | undefined;
  readonly version: number;
  readonly sequence: number;
}

/** The row after a write; what the write leaves out is gone. Field by field, see {@link resourceRowOf}. */
function written(kept: Kept, write: ResourceWrite, { nowMs, nextToken }: ResourceContext): ResourceRecord {
  const { lease, spec, externalId, reason } = write;
  const { provisionedAt, lastHeartbeatAt } = kept;
  const record: Mutable<ResourceRecord> = {
    group: kept.group,
    id: kept.id,
    incarnation: kept.incarnation,
    nonce: write.nonce,
    state: write.state,
    generation: write.generation,
    attempt: write.attempt,
    fencingToken: lease?.token === "grant" ? nextToken() : kept.fencingToken,
    createdAt: kept.createdAt,
    stateChangedAt: kept.stateChangedAt,
    version: kept.version,
    sequence: kept.sequence,
  };
  if (provisionedAt !== undefined) record.provisionedAt = provisionedAt;
  if (externalId !== undefined) record.externalId = externalId;
  if (spec !== undefined) record.spec = spec;
  if (reason !== undefined) record.reason = reason;
  if (lastHeartbeatAt !== undefined) record.lastHeartbeatAt = lastHeartbeatAt;
  if (lease !== undefined) record.leaseExpiresAt = Math.min(nowMs + lease.durationMs, Number.MAX_SAFE_INTEGER);
  return record;
}

function applied(record: ResourceRecord, nowMs: number): { readonly result: WriteResult } {
  return { result: { status: "applied", row: resourceRowOf(record, nowMs) } };
}

function conflict(known: ResourceRecord | undefined, nowMs: number): { readonly result: WriteResult } {
  return { result: { status: "conflict", ...(known === undefined ? {} : { row: resourceRowOf(known, nowMs) }) } };
}

/**
 * A batch of its own, for stores that decide later than they are asked.
 * @throws TypeError where a write names a fence that its batch does not have.
 */
export function copyOfApply({ group, epoch, writes, fences, status }: ApplyRequest): ApplyRequest {
  assertFences(writes, fences);
  const own = writes.map((write) =>
    write.lease === undefined ? { ...write } : { ...write, lease: { ...write.lease } },
  );
  return {
    group,
    epoch,
    writes: own,
    ...(fences === undefined ? {} : { fences: fences.map((fence) => ({ ...fence })) }),
    ...(status === undefined ? {} : { status }),
  };
}

/** @throws TypeError where a write names a fence that its batch does not have, or the batch one twice. */
export function assertFences(writes: readonly ResourceWrite[], fences: readonly Fence[] = []): void {
  const names = new Set(fences.map(({ name }) => name));
  if (names.size < fences.length) throw new TypeError("Each fence of a batch has to have a name of its own.");
  if (writes.some(({ fence }) => fence !== undefined && !names.has(fence)))
    throw new TypeError("A write names a fence that its batch does not have.");
}
