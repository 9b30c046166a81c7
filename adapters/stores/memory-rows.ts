import { silentSince } from "../../src/resource-heartbeats.ts";
import { compareRows, type FencedRows, type ResourceRecord } from "../../src/resource-record.ts";
import { ShardedMap } from "../../src/sharded-map.ts";
import type { Fence, ListResourcesRequest } from "../../src/store.ts";
import { OrderedSet } from "./memory-ordered-set.ts";

/** A row's place in the indexes, of which each row has one for life. */
interface Slot {
  record: ResourceRecord;
  /** That of the incarnation before it. */
  older: Slot | undefined;
  /** Tells slots apart that an index has at one key. */
  readonly number: number;
}

/** An order of rows by a number; rows without one are not in it. */
interface RowIndex {
  readonly keyOf: (record: ResourceRecord) => number | undefined;
  readonly slots: OrderedSet<Slot>;
}

/**
 * The rows of one group and their indexes. A write costs a few binary searches; a question costs what it answers, not what
 * there is: nothing new and nothing stale among a million rows are found out by a look at one.
 */
export class MemoryRows implements FencedRows {
  /** The newest incarnation of each id. */
  readonly #byId = new ShardedMap<Slot>();
  readonly #inOrder = new OrderedSet<Slot>((a, b) => compareRows(a.record, b.record));
  readonly #byChange = indexBy((record) => record.sequence);
  readonly #bySilence = indexBy((record) => (record.state === "PROVISIONED" ? silentSince(record) : undefined));
  readonly #byTermination = indexBy((record) => (record.state === "TERMINATED" ? record.stateChangedAt : undefined));
  readonly #indexes = [this.#byChange, this.#bySilence, this.#byTermination];
  readonly #fences = new Map<string, number>();
  #slots = 0;

  loadFence(name: string): number | undefined {
    return this.#fences.get(name);
  }

  saveFence({ name, epoch }: Fence): void {
    this.#fences.set(name, epoch);
  }

  load(id: string, incarnation: number): ResourceRecord | undefined {
    return this.#slot(id, incarnation)?.record;
  }

  newest(id: string): ResourceRecord | undefined {
    return this.#byId.get(id)?.record;
  }

  save(record: ResourceRecord): void {
    const slot = this.#slot(record.id, record.incarnation);
    if (slot === undefined) {
      this.#add(record);
      return;
    }
    // A slot leaves an index before what orders it changes.
    const moving = this.#indexes.filter(({ keyOf }) => keyOf(slot.record) !== keyOf(record));
    for (const index of moving) leave(index, slot);
    slot.record = record;
    for (const index of moving) enter(index, slot);
  }

  delete({ id, incarnation }: ResourceRecord): void {
    const slot = this.#slot(id, incarnation);
    if (slot === undefined) return;
    for (const index of this.#indexes) leave(index, slot);
    this.#inOrder.delete(slot);
    this.#unlink(id, slot);
  }

  /** Those after a row, by id and incarnation. */
  inOrder(
    after: ListResourcesRequest["after"],
    limit: number,
    isWanted: (record: ResourceRecord) => boolean,
  ): ResourceRecord[] {
    const slots = this.#inOrder.from(({ record }) => after === undefined || compareRows(record, after) > 0);
    const records: ResourceRecord[] = [];
    for (const { record } of slots) {
      if (records.length >= limit) break;
      if (isWanted(record)) records.push(record);
    }
    return records;
  }

  changedAfter(sequence: number, limit: number): ResourceRecord[] {
    const records: ResourceRecord[] = [];
    for (const { record } of this.#byChange.slots.from((slot) => slot.record.sequence > sequence)) {
      if (records.length >= limit) break;
      records.push(record);
    }
    return records;
  }

  /** PROVISIONED rows, longest silent first: at most `limit` that are silent, and the one behind them. */
  longestSilent(limit: number, isSilent: (record: ResourceRecord) => boolean): ResourceRecord[] {
    return upToFirstOther(this.#bySilence, limit, isSilent);
  }

  /** TERMINATED rows, oldest first: at most `limit` that may go. */
  purgeable(limit: number, mayGo: (record: ResourceRecord) => boolean): ResourceRecord[] {
    return upToFirstOther(this.#byTermination, limit, mayGo).filter(mayGo).slice(0, limit);
  }

  #slot(id: string, incarnation: number): Slot | undefined {
    let slot = this.#byId.get(id);
    while (slot !== undefined && slot.record.incarnation !== incarnation) slot = slot.older;
    return slot;
  }

  #unlink(id: string, slot: Slot): void {
    let newer = this.#byId.get(id);
    if (newer === slot) {
      if (slot.older === undefined) this.#byId.delete(id);
      else this.#byId.set(id, slot.older);
      return;
    }
    while (newer !== undefined && newer.older !== slot) newer = newer.older;
    if (newer !== undefined) newer.older = slot.older;
  }

  #add(record: ResourceRecord): void {
    this.#slots += 1;
    // A new incarnation is the highest of its id.
    const slot: Slot = { record, older: this.#byId.get(record.id), number: this.#slots };
    this.#byId.set(record.id, slot);
    this.#inOrder.add(slot);
    for (const index of this.#indexes) enter(index, slot);
  }
}

function indexBy(keyOf: RowIndex["keyOf"]): RowIndex {
  const key = ({ record }: Slot): number => keyOf(record) as number;
  return { keyOf, slots: new OrderedSet((a, b) => key(a) - key(b) || a.number - b.number) };
}

function enter({ keyOf, slots }: RowIndex, slot: Slot): void {
  if (keyOf(slot.record) !== undefined) slots.add(slot);
}

function leave({ keyOf, slots }: RowIndex, slot: Slot): void {
  if (keyOf(slot.record) !== undefined) slots.delete(slot);
}

/** From the beginning of an index: at most `limit` that pass, and the one behind them. */
function upToFirstOther(
  { slots }: RowIndex,
  limit: number,
  passes: (record: ResourceRecord) => boolean,
): ResourceRecord[] {
  const records: ResourceRecord[] = [];
  for (const { record } of slots.from()) {
    records.push(record);
    if (records.length > limit || !passes(record)) break;
  }
  return records;
}
