import { afterPendingIo, type Clock } from "../clock.ts";
import { isEvenkeelError } from "../errors.ts";
import { makeNonce, type Random } from "../random.ts";
import type {
  ApplyResult,
  CreateResource,
  Fence,
  LedgerStore,
  ResourceRow,
  ResourceWrite,
  UpdateResource,
  WriteResult,
} from "../store.ts";
import { storeOperation } from "../store-operation.ts";

/** More than this in one step would hold other writers of the group up. */
const MOST_WRITES_A_BATCH = 500;
/** Nor may one step be of any size: a spec may have a mebibyte. In UTF-16 units, which are near enough. */
const LONGEST_BATCH = 4 * 1_048_576;

/** A compare-and-swap; the writer names it itself. */
export type RowWrite = Omit<CreateResource, "nonce" | "fence"> | Omit<UpdateResource, "nonce" | "fence">;

/** `fenced`: a writer of the group, or of the id's part of it, has the epoch that is named, which is higher; nothing changed. */
export type RowWriteResult = WriteResult;

/** What an update makes of a row. What is left out stays, apart from the lease, which is gone. */
export type RowChange = Partial<
  Pick<UpdateResource, "state" | "generation" | "attempt" | "lease" | "ifSilentForMs"> & {
    readonly spec: string | undefined;
    readonly externalId: string | undefined;
    readonly reason: string | undefined;
  }
>;

export interface RowWriterTerms {
  readonly store: LedgerStore;
  readonly group: string;
  /** The epoch that a write to this id carries, asked for at each write. Without an election 0. */
  readonly epoch: (id: string) => number;
  /** The fence of the id's part of the group, asked for at each write. Without shards none. */
  readonly fence?: (id: string) => Fence | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds that a write may take, its repetitions included. */
  readonly storeTimeoutMs: number;
}

interface PendingWrite {
  readonly epoch: number;
  readonly fence: Fence | undefined;
  readonly write: ResourceWrite;
  resolve(result: RowWriteResult): void;
  reject(error: unknown): void;
}

/**
 * Writes rows of one group. What is asked for in one turn of the event loop goes to the store in one step, as far as it has
 * one epoch. Each write is named once, so that its repetition after a lost answer changes nothing.
 */
export class RowWriter {
  readonly #terms: RowWriterTerms;
  /** In the order in which they were asked for. A flush is due whenever there are any. */
  #pending: PendingWrite[] = [];

  constructor(terms: RowWriterTerms) {
    this.#terms = terms;
  }

  /**
   * One compare-and-swap.
   * @throws EvenkeelError `STORE_UNAVAILABLE`: whether it was carried out is unknown. Any other of the store's as it is.
   */
  write(write: RowWrite): Promise<RowWriteResult> {
    return new Promise((resolve, reject) => {
      const { epoch, fence: fenceOf, random } = this.#terms;
      const fence = fenceOf?.(write.id);
      const named = { ...write, nonce: makeNonce(random), ...(fence === undefined ? {} : { fence: fence.name }) };
      this.#pending.push({ epoch: epoch(write.id), fence, write: named, resolve, reject });
      if (this.#pending.length === 1) afterPendingIo(() => this.#flush());
    });
  }

  /** Changes the row, if it still is as it was read. See {@link RowWriter.write}. */
  update(row: ResourceRow, change: RowChange): Promise<RowWriteResult> {
    return this.write(updateOf(row, change));
  }

  /**
   * {@link RowWriter.update} by whoever holds the row's lease. If what stands there was written under this very lease (a renewal
   * whose answer was lost), that is changed.
   */
  async updateHeld(row: ResourceRow, change: RowChange): Promise<RowWriteResult> {
    const result = await this.update(row, change);
    return result.status === "conflict" && isHeldStill(result.row, row) ? this.update(result.row, change) : result;
  }

  /** Whether a writer of these epochs may still write the id; changes nothing but that the epochs are kept. */
  async checkEpoch(
    id: string,
  ): Promise<{ readonly status: "admitted" } | { readonly status: "fenced"; readonly epoch: number }> {
    const fence = this.#terms.fence?.(id);
    const result = await this.#apply(this.#terms.epoch(id), [], fence === undefined ? [] : [fence]);
    if (result.status === "fenced") return result;
    const [higher] = result.fences ?? [];
    return higher === undefined ? { status: "admitted" } : { status: "fenced", epoch: higher.epoch };
  }

  #flush(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (let start = 0; start < pending.length; ) {
      const end = endOfBatch(pending, start);
      void this.#send(pending.slice(start, end));
      start = end;
    }
  }

  async #send(batch: readonly PendingWrite[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    try {
      const writes = batch.map(({ write }) => write);
      const result = await this.#apply(first.epoch, writes, [...fencesOf(batch).values()]);
      batch.forEach((pending, at) => {
        const answer = result.status === "fenced" ? result : result.results[at];
        if (answer === undefined) pending.reject(new TypeError("The store answered fewer writes than it was asked."));
        else pending.resolve(answer);
      });
    } catch (error) {
      if (batch.length > 1 && isEvenkeelError(error) && error.code === "RECORD_CORRUPT") return this.#sendHalves(batch);
      for (const pending of batch) pending.reject(error);
    }
  }

  /** One row that can't be read must not keep the others from being written. */
  async #sendHalves(batch: readonly PendingWrite[]): Promise<void> {
    const middle = batch.length >>> 1;
    await this.#send(batch.slice(0, middle));
    await this.#send(batch.slice(middle));
  }

  #apply(epoch: number, writes: readonly ResourceWrite[], fences: readonly Fence[]): Promise<ApplyResult> {
    const { store, group, clock, random, storeTimeoutMs } = this.#terms;
    return storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.apply({ group, epoch, writes, ...(fences.length === 0 ? {} : { fences }) }, call),
    });
  }
}

/** Whether what was found is the row as whoever holds it wrote it: each grant of a lease has its own token. */
export function isHeldStill(found: ResourceRow | undefined, held: ResourceRow): found is ResourceRow {
  return (
    found?.leaseExpiresAt !== undefined &&
    found.fencingToken === held.fencingToken &&
    found.incarnation === held.incarnation &&
    found.state === held.state
  );
}

function updateOf(row: ResourceRow, change: RowChange): RowWrite {
  const { id, incarnation, version, state, generation, attempt } = row;
  const spec = "spec" in change ? change.spec : row.spec;
  const externalId = "externalId" in change ? change.externalId : row.externalId;
  const reason = "reason" in change ? change.reason : row.reason;
  const { lease, ifSilentForMs } = change;
  return {
    kind: "update",
    id,
    incarnation,
    expectedVersion: version,
    state: change.state ?? state,
    generation: change.generation ?? generation,
    attempt: change.attempt ?? attempt,
    ...(spec === undefined ? {} : { spec }),
    ...(externalId === undefined ? {} : { externalId }),
    ...(reason === undefined ? {} : { reason }),
    ...(lease === undefined ? {} : { lease }),
    ...(ifSilentForMs === undefined ? {} : { ifSilentForMs }),
  };
}

function fencesOf(batch: readonly PendingWrite[]): Map<string, Fence> {
  return new Map(batch.flatMap(({ fence }) => (fence === undefined ? [] : [[fence.name, fence]])));
}

/** Where the writes of one epoch, of the group and of each part, end, or are enough. */
function endOfBatch(pending: readonly PendingWrite[], start: number): number {
  const epoch = pending[start]?.epoch;
  const fences = new Map<string, number>();
  let length = 0;
  let end = start;
  for (const { epoch: own, fence, write } of pending.slice(start, start + MOST_WRITES_A_BATCH)) {
    length += write.spec?.length ?? 0;
    if (own !== epoch || (length > LONGEST_BATCH && end > start)) break;
    if (fence !== undefined && (fences.get(fence.name) ?? fence.epoch) !== fence.epoch) break;
    if (fence !== undefined) fences.set(fence.name, fence.epoch);
    end += 1;
  }
  return end;
}
