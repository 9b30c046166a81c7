/**
 * The ledger: what evenkeel knows, kept where crashes and other processes can't lose it.
 *
 * A store is three small interfaces over one engine. Rules for all of them:
 *
 * - **One step.** Each operation is one atomic step of the engine, and one round trip where the engine is remote.
 * - **The store's clock.** The core passes durations; the store judges time with its own clock and returns what remains.
 *   At its boundary a lease has lapsed and a record has expired.
 * - **Expected outcomes are data.** Results are unions with a `status`; an exception means that the engine failed.
 * - **Unknown is not failed.** A failure of the engine is `STORE_UNAVAILABLE` with its `cause` and leaves open whether the
 *   operation happened; the core repeats it with the same nonce. `STORE_UNAVAILABLE` without a `cause` says that the
 *   store refused before it did anything (it is closed, or full), and is not repeated.
 * - **Copies.** What a caller does to a value afterwards, in or out, changes nothing in the ledger.
 * - **Corruption stays.** A record that can't be understood is `RECORD_CORRUPT`; nothing runs and nothing is overwritten.
 */
export interface LedgerStore {
  readonly executions: ExecutionStore;
  readonly resources: ResourceStore;
  readonly leases: LeaseStore;
  /**
   * Gives back what the store opened itself; a client that the user passed in stays open. Twice is harmless. Every call
   * after it is `STORE_UNAVAILABLE`.
   */
  close(): Promise<void>;
}

/** The bounds of one store call. */
export interface StoreCall {
  /** Milliseconds after which nobody waits any more. A store does not begin after that what it has not begun. */
  readonly timeoutMs: number;
}

// ---------------------------------------------------------------------------------------------------- executions

/**
 * Records of executions: at most one per id, from the claim to the end of the retention.
 *
 * - **Fencing.** Each grant of a claim gets a token higher than any that the id ever had, also across release, expiry and
 *   purge. `complete`, `release`, `recordStep` and `renew` change something only for the holder of the highest token.
 * - **Nonces.** Each claim carries a nonce of its caller. The same nonce twice changes nothing the second time and is
 *   answered like the first.
 * - **Completed is final.** A completed record keeps its bytes until it expires.
 */
export interface ExecutionStore {
  /**
   * Decides in one step who runs: absent or expired is acquired; a lapsed lease is taken over or reported, as asked.
   * The fingerprint is compared first, in constant time, where both sides have one.
   */
  claim(request: ClaimRequest, call: StoreCall): Promise<ClaimResult>;
  /** Sets the lease anew, from now by the store's clock. A lapsed lease is lost, also when nobody took it over. */
  renew(request: RenewRequest, call: StoreCall): Promise<RenewResult>;
  /** Commits the outcome. A lapsed claim may, as long as its token is the highest. Steps are forgotten. */
  complete(request: CompleteRequest, call: StoreCall): Promise<CompleteResult>;
  /**
   * Commits the outcome inside a transaction that the user opened on the same database. It answers synchronously where the
   * driver is synchronous. Absent where the engine has no such transactions.
   * @throws EvenkeelError `INVALID_OPTIONS` when `tx` is no open transaction of this store's database.
   */
  completeInTransaction?(request: CompleteRequest, tx: unknown): CompleteResult | Promise<CompleteResult>;
  /** Gives the claim up without an outcome. */
  release(request: ReleaseRequest, call: StoreCall): Promise<ReleaseResult>;
  /** Remembers a step's outcome under the record, for the attempt after a takeover. */
  recordStep(request: RecordStepRequest, call: StoreCall): Promise<RecordStepResult>;
  /**
   * Takes a record that runs or is abandoned away from whoever holds it, for an operator: a new token, and with it the holder of
   * before is stale; a lease from now on. Only the grant whose token was seen: after another one it is `changed`. The attempt, the
   * steps and whoever waits stay. The new holder, `{ id, token, nonce }`, then completes or releases.
   *
   * The same nonce again is answered with the same token, as `claim` is.
   */
  seize(request: SeizeRequest, call: StoreCall): Promise<SeizeResult>;
  get(id: string, call: StoreCall): Promise<ExecutionView | undefined>;
  /** Records in the order of their ids, at most `limit`, those after `after`. */
  list(request: ListExecutionsRequest, call: StoreCall): Promise<ExecutionView[]>;
  /**
   * The records that were created last, the newest first and those of one moment by id; records that can't be read are left out. For
   * people to look at, so a store without an index by creation may answer nearly that. Redis does: it chooses among those that
   * expire last, which are the same where all have one retention, and looks at no more than the last 10,000 or four times `limit`.
   */
  recent(request: RecentExecutionsRequest, call: StoreCall): Promise<ExecutionView[]>;
  /** Deletes at most `limit` expired records. Fewer does not say that none is left: the call's time may have been over. */
  purge(request: { readonly limit: number }, call: StoreCall): Promise<{ purged: number }>;
  /** How many records `purge` would delete now, were there no limit. Nothing is deleted. */
  countExpired(call: StoreCall): Promise<{ count: number }>;
  /**
   * Calls `wake` when the record may have been settled. Only a hint: it may come late, twice or never. Returns what ends
   * the watching. Absent where the engine can't push.
   */
  watch?(id: string, wake: () => void): () => void;
}

export interface ClaimRequest {
  /** 64 hex digits: the digest of operation, scope and key. */
  readonly id: string;
  readonly operation: string;
  readonly scope: string;
  /** The user's own key, kept for people to look up unless the store was made with `storeKeys: false`. */
  readonly key?: string;
  /** 64 hex digits; absent where fingerprints are off. */
  readonly fingerprint?: string;
  readonly nonce: string;
  readonly leaseMs: number;
  /** How long the record is kept after its lease, if nobody ever completes it. */
  readonly retentionMs: number;
  /** What to do with a record whose lease has lapsed. */
  readonly onAbandoned: "takeover" | "report";
}

export type ClaimResult =
  | AcquiredClaim
  | ({ readonly status: "completed" } & CommittedOutcome)
  | { readonly status: "running"; readonly attempt: number; readonly leaseRemainingMs: number }
  | { readonly status: "mismatch" }
  | ({ readonly status: "abandoned" } & Abandonment);

export interface AcquiredClaim {
  readonly status: "acquired";
  readonly attempt: number;
  readonly token: number;
  /** What is left of the lease at the moment of the answer, by the store's clock. */
  readonly leaseRemainingMs: number;
  /** When the lease of the attempt before lapsed, where this claim took it over on its own account. */
  readonly abandonedAt?: number;
  readonly steps: readonly StepRecord[];
}

/** An attempt whose holder fell silent. */
export interface Abandonment {
  readonly attempt: number;
  readonly leaseExpiredAt: number;
  readonly steps: readonly StepRecord[];
}

/** What every write of a holder carries. */
export interface Holder {
  readonly id: string;
  readonly token: number;
  readonly nonce: string;
}

export interface RenewRequest extends Holder {
  readonly leaseMs: number;
  readonly retentionMs: number;
}

/** `finalized`: this holder's own completion is already there. */
export type RenewResult =
  | { readonly status: "renewed"; readonly leaseRemainingMs: number }
  | { readonly status: "finalized" | "lost" | "missing" };

/** What a completed execution left: bytes that only the core understands. */
export interface StoredOutcome {
  readonly kind: OutcomeKind;
  readonly bytes: Uint8Array;
}

export type OutcomeKind = "value" | "error" | "tombstone";

export interface CommittedOutcome {
  /** That of the payload whose outcome it is, where there is one. */
  readonly fingerprint?: string;
  readonly outcome: StoredOutcome;
  readonly attempt: number;
  readonly completedAt: number;
  readonly expiresInMs: number;
}

export interface CompleteRequest extends Holder {
  readonly outcome: StoredOutcome;
  readonly retentionMs: number;
}

/** `committed` tells the outcome that stands: an earlier one of the same nonce wins. `finalized` is another holder's. */
export type CompleteResult =
  | ({ readonly status: "committed" } & CommittedOutcome)
  | ({ readonly status: "finalized" } & CommittedOutcome)
  | { readonly status: "lost" | "missing" };

export interface ReleaseRequest extends Holder {
  /**
   * - `forget`: the record is deleted; the key accepts a new payload. Asked again, it is `missing`.
   * - `retry`: the record and its steps stay, as of `attempt`; the next caller takes over, whatever it does with abandoned
   *   records.
   * - `abandon`: the record and its steps stay, abandoned, as of `attempt` and since `leaseExpiredAt` (defaults to now).
   */
  readonly as:
    | { readonly mode: "forget" }
    | { readonly mode: "retry"; readonly attempt: number; readonly retentionMs: number }
    | {
        readonly mode: "abandon";
        readonly attempt: number;
        readonly leaseExpiredAt?: number;
        readonly retentionMs: number;
      };
}

/** `committed`: this holder's own completion is there. `finalized`: another holder's. */
export type ReleaseResult =
  | { readonly status: "released" }
  | ({ readonly status: "committed" } & CommittedOutcome)
  | ({ readonly status: "finalized" } & CommittedOutcome)
  | { readonly status: "lost" | "missing" };

export interface StepRecord {
  /** The place in the sequence in which steps were started, from 0. */
  readonly position: number;
  readonly name: string;
  readonly outcome: StoredOutcome;
}

export interface RecordStepRequest extends Holder {
  readonly step: StepRecord;
}

export type RecordStepResult = { readonly status: "recorded" | "finalized" | "lost" | "missing" };

export interface SeizeRequest {
  readonly id: string;
  /** The one that was seen. */
  readonly token: number;
  /** Of the new holder. */
  readonly nonce: string;
  readonly leaseMs: number;
  /** How long the record is kept after its lease, if nobody settles it. What its claim asked for stays in the record. */
  readonly retentionMs: number;
}

/** `changed`: another token was granted since the one that was seen. */
export type SeizeResult =
  | {
      readonly status: "seized";
      readonly token: number;
      /** As before. */
      readonly attempt: number;
      readonly leaseRemainingMs: number;
    }
  | ({ readonly status: "completed" } & CommittedOutcome)
  | { readonly status: "changed" | "missing" };

export interface RecentExecutionsRequest {
  readonly limit: number;
  readonly operation?: string;
}

export interface ListExecutionsRequest {
  readonly operation?: string;
  readonly status?: ExecutionView["status"];
  readonly limit: number;
  /** The id after which to begin. */
  readonly after?: string;
}

interface ExecutionIdentity {
  readonly id: string;
  readonly operation: string;
  readonly scope: string;
  readonly key?: string;
  readonly fingerprint?: string;
  readonly attempt: number;
  readonly token: number;
  readonly createdAt: number;
  /** The retention that the operation asked for when it last claimed the record. */
  readonly retentionMs: number;
  readonly expiresInMs: number;
}

/** A record as a reader sees it at one moment of the store's clock. */
export type ExecutionView =
  | (ExecutionIdentity & { readonly status: "running"; readonly leaseRemainingMs: number })
  | (ExecutionIdentity & {
      readonly status: "abandoned";
      readonly leaseExpiredAt: number;
      /** Somebody has decided that the next caller takes over. */
      readonly retryGranted: boolean;
    })
  | (ExecutionIdentity & {
      readonly status: "completed";
      readonly completedAt: number;
      readonly outcome: StoredOutcome;
    });

// ----------------------------------------------------------------------------------------------------- resources

/** The states of a resource, see `ResourceLedger`. */
export type ResourceState = "PENDING" | "PROVISIONED" | "FAILED" | "TERMINATING" | "TERMINATED";

/**
 * One incarnation of one resource, as it stood at `readAt`. All `…At` are epoch milliseconds by the store's clock, and set
 * by the store alone, so that ages and what is left of a lease are differences of one clock.
 */
export interface ResourceRow {
  readonly group: string;
  readonly id: string;
  /** Rises with each resource of an id, also across a purge; 1 for the first, where nothing of its group was purged. */
  readonly incarnation: number;
  readonly state: ResourceState;
  /** A text that only the core understands. */
  readonly spec?: string;
  readonly externalId?: string;
  readonly generation: number;
  readonly reason?: string;
  /** How often the present action was begun. */
  readonly attempt: number;
  /** Of the last grant of a lease; strictly rising within a group, also across deletion. */
  readonly fencingToken: number;
  readonly createdAt: number;
  /** When it last became what it is. */
  readonly stateChangedAt: number;
  /** When it first became PROVISIONED. */
  readonly provisionedAt?: number;
  readonly lastHeartbeatAt?: number;
  readonly terminatedAt?: number;
  /** The end of the lease of whoever acts on the row; absent when nobody does. At this moment it has lapsed. */
  readonly leaseExpiresAt?: number;
  /** 1 at creation; one more with each applied write. A heartbeat leaves it. What a compare-and-swap compares. */
  readonly version: number;
  readonly readAt: number;
}

/**
 * Rows of resources by (group, id, incarnation), and what is desired of each group.
 *
 * - **Compare and swap.** A write names the version that it read and changes nothing when the row has another.
 * - **Epochs.** The store keeps the highest epoch that it has seen in a group's writes; a write with a lower one is `fenced`
 *   and changes nothing, whatever it writes. A higher one is kept even if no write of its batch applies.
 * - **Fences.** Parts of a group, such as its shards, have epochs of their own, by name, beside the group's: a write that stands under
 *   a fence with an epoch below the highest seen in that part is `fenced` alone. They too are kept whatever becomes of the writes,
 *   unless the whole batch is fenced, and are never forgotten.
 * - **Nonces.** A write repeated with its nonce, when nothing else was written to the row in between, is answered like the
 *   first time and changes nothing.
 * - **Order.** Ids are ordered by their code points, which is the order of their UTF-8 bytes.
 * - **Corruption.** A row that can't be read fails every answer that it would be in, lists too: whoever took it for absent
 *   would replace it. A purge leaves it and deletes the others.
 */
export interface ResourceStore {
  getDesired(group: string, call: StoreCall): Promise<DesiredState>;
  setDesired(request: SetDesiredRequest, call: StoreCall): Promise<SetDesiredResult>;
  /** A batch of compare-and-swaps, each decided on its own, in order, all in one step; answered in order. */
  apply(request: ApplyRequest, call: StoreCall): Promise<ApplyResult>;
  /** A batch of heartbeats, each stamped with the store's time; answered in order. */
  heartbeat(request: HeartbeatRequest, call: StoreCall): Promise<HeartbeatResult[]>;
  /** The newest incarnation. */
  get(group: string, id: string, call: StoreCall): Promise<ResourceRow | undefined>;
  /** All incarnations that are kept, by id and then by incarnation. */
  list(request: ListResourcesRequest, call: StoreCall): Promise<ResourceRow[]>;
  /**
   * Rows with writes since the cursor, as they are now, in the order of their last write; heartbeats don't count, and neither
   * does a purge. Without a cursor, and with one of a ledger that is gone (`reset`), from the beginning. No write is ever missed,
   * also where writes commit in another order than they began. Where nothing is new, the cursor stays.
   */
  changedSince(request: ChangedSinceRequest, call: StoreCall): Promise<ChangedResources>;
  /**
   * PROVISIONED rows whose last sign of life (heartbeat, else `provisionedAt`) is strictly more than `ageMs` ago, longest
   * silent first, by index and not by a scan; and when the next one would be, should nothing beat until then.
   */
  staleBefore(request: StaleBeforeRequest, call: StoreCall): Promise<StaleResources>;
  /** Deletes at most `limit` TERMINATED rows that were terminated at least `ageMs` ago. Incarnations go on rising. */
  purge(request: PurgeResourcesRequest, call: StoreCall): Promise<{ purged: number }>;
  /** The names of the groups that had a `setDesired` or an `apply` that was not fenced, in order. */
  listGroups(request: { readonly limit: number; readonly after?: string }, call: StoreCall): Promise<string[]>;
}

/** What a group is wanted to be, and what its reconciler last said of it. Both texts only the core understands. */
export interface DesiredState {
  /** 0 as long as nothing was desired; one more whenever the desired text changes. */
  readonly generation: number;
  readonly desired?: string;
  readonly status?: string;
  /** The highest epoch seen; 0 at first. */
  readonly epoch: number;
}

export interface SetDesiredRequest {
  readonly group: string;
  readonly epoch: number;
  readonly nonce: string;
  readonly desired: string;
  /**
   * Sets only where the group still has this generation: 0 where nothing was desired yet. Repeated with its nonce, when nothing else
   * was desired in between, it is answered like the first time. Absent: sets whatever was desired before; a copy of such a request
   * that arrives late brings its text back.
   */
  readonly ifGeneration?: number;
}

/** `conflict`: another generation than `ifGeneration`, which it carries. Nothing was set; a higher epoch is kept all the same. */
export type SetDesiredResult =
  | { readonly status: "set"; readonly generation: number }
  | { readonly status: "conflict"; readonly generation: number }
  | { readonly status: "fenced"; readonly epoch: number };

export interface ApplyRequest {
  readonly group: string;
  readonly epoch: number;
  readonly writes: readonly ResourceWrite[];
  /** The epochs of parts of the group, each name once. They count before the first write. Defaults to none. */
  readonly fences?: readonly Fence[];
  /** Replaces the group's status, in the same step. Absent leaves it. */
  readonly status?: string;
}

/** The epoch of a part of a group. */
export interface Fence {
  readonly name: string;
  readonly epoch: number;
}

export type ResourceWrite = CreateResource | UpdateResource;

/** What a write makes of a row. What is left out is gone from the row afterwards. */
interface ResourceFields {
  readonly id: string;
  readonly nonce: string;
  readonly state: ResourceState;
  readonly spec?: string;
  readonly externalId?: string;
  readonly generation: number;
  readonly reason?: string;
  readonly attempt: number;
  /** A lease from now on. `grant` takes a new fencing token too, `keep` leaves the row's. Left out: nobody holds the row. */
  readonly lease?: { readonly durationMs: number; readonly token: "grant" | "keep" };
  /** The name of the fence, one of its batch's, that the write stands under. Left out: the group's epoch alone counts. */
  readonly fence?: string;
}

/** Makes the next incarnation, if the newest is still `after`: 0 where the id has no row. */
export interface CreateResource extends ResourceFields {
  readonly kind: "create";
  readonly after: number;
}

export interface UpdateResource extends ResourceFields {
  readonly kind: "update";
  readonly incarnation: number;
  readonly expectedVersion: number;
  /** Applied only if the last sign of life is strictly longer ago than this, so that a beat in between wins. */
  readonly ifSilentForMs?: number;
}

/** `fences` are those of the batch that are too low, in its order, with the epochs that they are lower than; absent where none is. */
export type ApplyResult =
  | { readonly status: "decided"; readonly results: readonly WriteResult[]; readonly fences?: readonly Fence[] }
  | { readonly status: "fenced"; readonly epoch: number };

/**
 * `conflict` carries the row that stands: for a creation the newest of the id, for an update that incarnation's. `fenced` the higher
 * epoch of the write's own fence.
 */
export type WriteResult =
  | { readonly status: "applied"; readonly row: ResourceRow }
  | { readonly status: "conflict"; readonly row?: ResourceRow }
  | { readonly status: "fenced"; readonly epoch: number; readonly row?: never };

export interface HeartbeatRequest {
  readonly group: string;
  /** Without an incarnation: the newest. */
  readonly beats: readonly { readonly id: string; readonly incarnation?: number }[];
}

/**
 * - `accepted`: the row is PENDING or PROVISIONED, or TERMINATING and still the newest of its id.
 * - `superseded`: it is FAILED or TERMINATED, or TERMINATING beside a newer one, or not there while a newer one is, or at or
 *   below the highest incarnation that was purged from the group: whoever beats should stop. Nothing is stamped.
 * - `missing`: there is no such row.
 */
export type HeartbeatResult = { readonly status: "accepted" | "superseded" | "missing" };

export interface ListResourcesRequest {
  readonly group: string;
  readonly states?: readonly ResourceState[];
  readonly limit: number;
  /** The row after which to begin; it need not be there any more. */
  readonly after?: { readonly id: string; readonly incarnation: number };
}

export interface ChangedSinceRequest {
  readonly group: string;
  readonly cursor?: string;
  readonly limit: number;
}

export interface ChangedResources {
  readonly rows: ResourceRow[];
  /** Where to go on. */
  readonly cursor: string;
  /** The cursor was of another ledger, and the rows are from the beginning: what is known from before may be gone. */
  readonly reset: boolean;
}

export interface StaleBeforeRequest {
  readonly group: string;
  readonly ageMs: number;
  readonly limit: number;
}

export interface StaleResources {
  readonly rows: ResourceRow[];
  /** Milliseconds until the next row would be in the answer, 0 if only `limit` kept it out; absent where no other is PROVISIONED. */
  readonly nextInMs?: number;
}

export interface PurgeResourcesRequest {
  readonly group: string;
  readonly ageMs: number;
  readonly limit: number;
}

// -------------------------------------------------------------------------------------------------------- leases

/** A named lease as it stands. */
export interface LeaseView {
  readonly name: string;
  readonly holder: string;
  readonly epoch: number;
  /** Rises with each renewal, so that a follower can see a sign of life without comparing clocks. */
  readonly renewals: number;
  readonly durationMs: number;
  readonly remainingMs: number;
}

/**
 * Leases by name, for election and sharding.
 *
 * - **Epochs.** Each acquisition gets an epoch higher than any that the name ever had, also across release and expiry. `renew`
 *   and `release` change something only for the holder of the epoch.
 * - **Nonces.** Inside its lease, an acquisition with the same nonce is answered like the first and changes nothing. A
 *   holder that begins anew takes a new nonce and waits for its own old lease like everybody else.
 */
export interface LeaseStore {
  acquire(request: AcquireLeaseRequest, call: StoreCall): Promise<AcquireLeaseResult>;
  /** Sets the lease anew, from now by the store's clock. A lapsed lease is lost, also when nobody else acquired it. */
  renew(request: RenewLeaseRequest, call: StoreCall): Promise<RenewLeaseResult>;
  /** Gives the lease up, so that the next one need not wait. */
  release(request: LeaseHolder, call: StoreCall): Promise<ReleaseLeaseResult>;
  /** The lease, unless it has lapsed. */
  get(name: string, call: StoreCall): Promise<LeaseView | undefined>;
  /** The leases that have not lapsed and whose name begins so, by name. */
  list(prefix: string, call: StoreCall): Promise<LeaseView[]>;
}

/** What every write of a lease's holder carries. */
export interface LeaseHolder {
  readonly name: string;
  readonly holder: string;
  readonly epoch: number;
}

export interface AcquireLeaseRequest {
  readonly name: string;
  readonly holder: string;
  readonly nonce: string;
  readonly durationMs: number;
}

export interface RenewLeaseRequest extends LeaseHolder {
  readonly durationMs: number;
}

export type AcquireLeaseResult =
  | { readonly status: "acquired"; readonly epoch: number; readonly remainingMs: number }
  | ({ readonly status: "held" } & LeaseView);

export type RenewLeaseResult =
  | { readonly status: "renewed"; readonly remainingMs: number }
  | { readonly status: "lost" | "missing" };

export type ReleaseLeaseResult = { readonly status: "released" | "lost" | "missing" };
