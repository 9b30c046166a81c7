import type {
  ApplyRequest,
  ApplyResult,
  ChangedResources,
  CreateResource,
  DesiredState,
  HeartbeatRequest,
  HeartbeatResult,
  ResourceRow,
  ResourceWrite,
  SetDesiredRequest,
  SetDesiredResult,
  StaleBeforeRequest,
  StaleResources,
  UpdateResource,
  WriteResult,
} from "./store.ts";

/**
 * The protocol of resources as pure decisions, as `execution-record.ts` has it for executions: (what is stored, what is asked,
 * the store's time) -> (the answer, what to store). The embedded stores execute them inside a transaction of theirs; the remote
 * ones say the same in SQL and Lua.
 *
 * What a store keeps of one incarnation. `terminatedAt` and `readAt` are not kept, see {@link resourceRowOf}.
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

/** An answer, and the group to store with it; absent to leave it as it is. */
export interface GroupDecision<Result> {
  readonly result: Result;
  readonly write?: GroupRecord;
}

// -------------------------------------------------------------------------------------------------------- groups

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
 * {@link ResourceStore.setDesired}. The nonce need not be kept: a repetition finds its own text, which is answered alike and
 * changes nothing.
 */
export function decideDesired(
  stored: GroupRecord | undefined,
  request: SetDesiredRequest,
  context: ResourceContext,
): GroupDecision<SetDesiredResult> {
  const admission = decideEpoch(stored, request, context);
  if (admission.status === "fenced") return { result: admission };
  const { group } = admission;
  const { desired } = request;
  const write = group.desired === desired ? group : { ...group, desired, generation: group.generation + 1 };
  return {
    result: { status: "set", generation: write.generation },
    ...(write === stored ? {} : { write }),
  };
}

/** {@link ResourceStore.apply}: the batch in its order, each write over what those before it left. */
export function decideApply(
  stored: GroupRecord | undefined,
  request: ApplyRequest,
  rows: ResourceRows,
  context: ResourceContext,
): GroupDecision<ApplyResult> {
  const admission = decideEpoch(stored, request, context);
  if (admission.status === "fenced") return { result: admission };
  let { group } = admission;
  if (request.status !== undefined) group = { ...group, status: request.status };
  const results = request.writes.map((write) => {
    const known = write.kind === "create" ? rows.newest(write.id) : rows.load(write.id, write.incarnation);
    const { result, record } = decideWrite(group, known, write, context);
    if (record !== undefined) {
      rows.save(record);
      group = { ...group, sequence: record.sequence };
    }
    return result;
  });
  return {
    result: { status: "decided", results },
    ...(group === stored ? {} : { write: group }),
  };
}

// -------------------------------------------------------------------------------------------------------- writes

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
  return {
    group: group.group,
    id: write.id,
    // Above the floor also where older incarnations are kept: one between them and the floor may have been purged.
    incarnation: Math.max(newest?.incarnation ?? 0, group.floor) + 1,
    ...asked(write),
    ...leased(write, 0, context),
    createdAt: nowMs,
    stateChangedAt: nowMs,
    ...(write.state === "PROVISIONED" ? { provisionedAt: nowMs } : {}),
    version: 1,
    sequence: group.sequence + 1,
  };
}

function updated(
  group: GroupRecord,
  known: ResourceRecord,
  write: UpdateResource,
  context: ResourceContext,
): ResourceRecord {
  const { nowMs } = context;
  const provisionedAt = known.provisionedAt ?? (write.state === "PROVISIONED" ? nowMs : undefined);
  const { lastHeartbeatAt } = known;
  return {
    group: known.group,
    id: known.id,
    incarnation: known.incarnation,
    ...asked(write),
    ...leased(write, known.fencingToken, context),
    createdAt: known.createdAt,
    stateChangedAt: write.state === known.state ? known.stateChangedAt : nowMs,
    ...(provisionedAt === undefined ? {} : { provisionedAt }),
    ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt }),
    version: known.version + 1,
    sequence: group.sequence + 1,
  };
}

/** What a write says itself; what it leaves out is gone. */
function asked({ nonce, state, spec, externalId, generation, reason, attempt }: ResourceWrite) {
  return {
    nonce,
    state,
    ...(spec === undefined ? {} : { spec }),
    ...(externalId === undefined ? {} : { externalId }),
    generation,
    ...(reason === undefined ? {} : { reason }),
    attempt,
  };
}

/** The token of the last grant stays when the lease is kept, and when nobody holds the row any more. */
function leased({ lease }: ResourceWrite, lastToken: number, { nowMs, nextToken }: ResourceContext) {
  if (lease === undefined) return { fencingToken: lastToken };
  const leaseExpiresAt = Math.min(nowMs + lease.durationMs, Number.MAX_SAFE_INTEGER);
  return { fencingToken: lease.token === "grant" ? nextToken() : lastToken, leaseExpiresAt };
}

function applied(record: ResourceRecord, nowMs: number): { readonly result: WriteResult } {
  return { result: { status: "applied", row: resourceRowOf(record, nowMs) } };
}

function conflict(known: ResourceRecord | undefined, nowMs: number): { readonly result: WriteResult } {
  return { result: { status: "conflict", ...(known === undefined ? {} : { row: resourceRowOf(known, nowMs) }) } };
}

// ---------------------------------------------------------------------------------------------------- heartbeats

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

// ------------------------------------------------------------------------------------------------------- changes

/** Where `changedSince` begins: after this sequence. */
export interface ChangesStart {
  readonly afterSequence: number;
  /** The cursor is of a ledger that is gone, or of one that has lost writes since. */
  readonly reset: boolean;
}

/**
 * Reads a cursor, `<mark>:<sequence>`, opaque to everybody else. A group that is not there has an empty mark, which fits the group
 * that appears later: nothing was known of it.
 */
export function changesStart(group: GroupRecord | undefined, cursor: string | undefined): ChangesStart {
  if (cursor === undefined || cursor === changesCursor(undefined, 0)) return { afterSequence: 0, reset: false };
  const [, mark, digits] = /^([^:]*):(0|[1-9][0-9]{0,15})$/.exec(cursor) ?? [];
  const sequence = Number(digits);
  const isOurs = group !== undefined && mark === group.mark && sequence <= group.sequence;
  return isOurs ? { afterSequence: sequence, reset: false } : { afterSequence: 0, reset: true };
}

/** The cursor behind a row. */
export function changesCursor(group: GroupRecord | undefined, sequence: number): string {
  return `${group?.mark ?? ""}:${sequence}`;
}

/**
 * {@link ResourceStore.changedSince}.
 * @param records - at most `limit` rows with a sequence above the start, in the order of their sequences.
 */
export function changesAnswer(
  group: GroupRecord | undefined,
  { afterSequence, reset }: ChangesStart,
  records: readonly ResourceRecord[],
  nowMs: number,
): ChangedResources {
  const rows = records.map((record) => resourceRowOf(record, nowMs));
  return { rows, cursor: changesCursor(group, records.at(-1)?.sequence ?? afterSequence), reset };
}

// --------------------------------------------------------------------------------------------------------- purge

/** Whether {@link ResourceStore.purge} may delete the row. */
export function isPurgeable({ state, stateChangedAt }: ResourceRecord, ageMs: number, nowMs: number): boolean {
  return state === "TERMINATED" && nowMs - stateChangedAt >= ageMs;
}

/** The group to store in the step that deletes these rows. */
export function afterPurge(group: GroupRecord, purged: readonly { readonly incarnation: number }[]): GroupRecord {
  const floor = purged.reduce((highest, { incarnation }) => Math.max(highest, incarnation), group.floor);
  return floor === group.floor ? group : { ...group, floor };
}

// ---------------------------------------------------------------------------------------------------------- rows

/** The row as a reader sees it. It was terminated when it became what it is, if that is TERMINATED. */
export function resourceRowOf(record: ResourceRecord, nowMs: number): ResourceRow {
  const { nonce: _nonce, sequence: _sequence, ...row } = record;
  return {
    ...row,
    ...(record.state === "TERMINATED" ? { terminatedAt: record.stateChangedAt } : {}),
    readAt: nowMs,
  };
}

/** A batch of its own, for stores that decide later than they are asked. */
export function copyOfApply({ group, epoch, writes, status }: ApplyRequest): ApplyRequest {
  const own = writes.map((write) =>
    write.lease === undefined ? { ...write } : { ...write, lease: { ...write.lease } },
  );
  return { group, epoch, writes: own, ...(status === undefined ? {} : { status }) };
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
