import { turnOfEventLoop } from "../clock.ts";
import type { DesiredSet } from "../resources/desired-text.ts";
import { turnTaker } from "../resources/in-turns.ts";
import type { ChangedResources, ResourceRow, ResourceState } from "../store.ts";
import { hasGoneBack } from "./gone-back.ts";
import type { ObservedResource } from "./observation.ts";
import { Sightings } from "./sightings.ts";
import { SilentReplacements } from "./silent-replacements.ts";
import { isLive, type Slot } from "./slot.ts";
import { NO_ROWS, SlotTable } from "./slot-table.ts";
import { Tombstones } from "./tombstones.ts";
import type { AnswerKind } from "./verdict.ts";
import { WantedSlots } from "./wanted-slots.ts";

/**
 * What a reconciler knows of its group, kept from pass to pass, so that a pass costs what changed and not what there is. A slot is
 * dirty when something about it changed, or when it was not settled when it was last looked at; the others need not be judged.
 */
export class LedgerView {
  readonly #slots = new SlotTable();
  readonly #wanted: WantedSlots;
  readonly #sightings = new Sightings(this.#slots);
  readonly #states: Record<ResourceState, number> = {
    PENDING: 0,
    PROVISIONED: 0,
    FAILED: 0,
    TERMINATING: 0,
    TERMINATED: 0,
  };
  readonly #tombstones = new Tombstones();
  readonly #replacements = new SilentReplacements();
  #live = 0;
  #cursor: string | undefined;
  #isDoubted = false;
  #last: ResourceRow | undefined;

  constructor(group: string) {
    this.#wanted = new WantedSlots(group, this.#slots);
  }

  /** How many slots have a live row. */
  get live(): number {
    return this.#live;
  }

  /** How many slots are wanted. */
  get wanted(): number {
    return this.#wanted.count;
  }

  /** Rows by state. */
  get states(): Readonly<Record<ResourceState, number>> {
    return this.#states;
  }

  /** The row that was taken in last. What the ledger loses, it loses first. */
  get last(): ResourceRow | undefined {
    return this.#last;
  }

  get size(): number {
    return this.#slots.size;
  }

  slot(id: string): Slot | undefined {
    return this.#slots.get(id);
  }

  slots(): Iterable<Slot> {
    return this.#slots.all();
  }

  /** The slots that have to be judged. */
  dirty(): Iterable<Slot> {
    return this.#slots.dirty();
  }

  get dirtyCount(): number {
    return this.#slots.dirtyCount;
  }

  touch(id: string): void {
    const slot = this.#slots.get(id);
    if (slot !== undefined) this.#slots.soil(slot);
  }

  touchAll(): Promise<void> {
    return this.#slots.soilAll();
  }

  /** Nothing is to be done about the slot until something about it changes. */
  settle(id: string): void {
    this.#slots.settle(id);
  }

  // --------------------------------------------------------------------------------------------------- rows

  /** Takes in what was written since the last time, until there is nothing new. */
  async refresh(read: (cursor: string | undefined) => Promise<ChangedResources>, pageSize: number): Promise<void> {
    for (;;) {
      const isAnew = this.#isDoubted;
      const { rows, cursor, reset } = await read(isAnew ? undefined : this.#cursor);
      // Doubted while it was asked: the answer goes on from what is not believed.
      if (this.#isDoubted && !isAnew) continue;
      this.#isDoubted = false;
      if (isAnew || reset) await this.#clearRows();
      for (const row of rows) this.applyRow(row);
      this.#cursor = cursor;
      if (rows.length < pageSize) return;
      // A store in this process answers without a turn.
      await turnOfEventLoop();
    }
  }

  /** The ledger may have less than is known: at the next refresh everything is read anew. */
  doubt(): void {
    this.#isDoubted = true;
  }

  /**
   * Compares what was known with what stands there.
   * @param last - {@link last}, as it was when the ledger was asked for it.
   */
  compare(last: ResourceRow, found: ResourceRow | undefined): void {
    if (found === undefined && this.#last === last) this.#last = undefined;
    if (hasGoneBack(last, found)) this.doubt();
  }

  /** Takes a row in, unless a later one of the incarnation is known. */
  applyRow(row: ResourceRow): void {
    const slot = this.#slots.of(row.id);
    const at = slot.rows.findIndex(({ incarnation }) => incarnation === row.incarnation);
    const known = slot.rows[at];
    if (known !== undefined && known.version >= row.version) return;
    this.#last = row;
    const wasLive = slot.rows.some(isLive);
    if (known === undefined) {
      this.#replacements.note(row);
      slot.rows = [...slot.rows, row].sort((a, b) => a.incarnation - b.incarnation);
    } else {
      this.#states[known.state] -= 1;
      slot.rows = slot.rows.with(at, row);
    }
    this.#states[row.state] += 1;
    this.#live += Number(slot.rows.some(isLive)) - Number(wasLive);
    if (row.state === "TERMINATED" && known?.state !== "TERMINATED") this.#tombstones.add(row);
    this.#slots.soil(slot);
  }

  async #clearRows(): Promise<void> {
    const turns = turnTaker();
    this.#last = undefined;
    this.#tombstones.clear();
    this.#replacements.clear();
    for (const slot of this.#slots.all()) {
      for (const { state } of slot.rows) this.#states[state] -= 1;
      if (slot.rows.some(isLive)) this.#live -= 1;
      slot.rows = NO_ROWS;
      this.#slots.soil(slot);
      if (turns.isDue()) await turns.turn();
    }
  }

  /** See {@link SilentReplacements.since}. */
  replacedSince(moment: number): { readonly ids: ReadonlySet<string>; readonly lastAt?: number } {
    return this.#replacements.since(moment);
  }

  /** Whether a tombstone is so old that the ledger may forget it. */
  hasTombstoneBefore(moment: number): boolean {
    return this.#tombstones.hasBefore(moment);
  }

  /** Forgets tombstones, as the ledger has. */
  forgetTombstonesBefore(moment: number): void {
    for (const { id, incarnation: gone } of this.#tombstones.takeBefore(moment)) {
      const slot = this.#slots.get(id);
      if (slot === undefined) continue;
      slot.rows = slot.rows.filter(({ incarnation }) => incarnation !== gone);
      this.#states.TERMINATED -= 1;
      this.#slots.forgetEmpty(slot);
    }
  }

  // --------------------------------------------------------------------------------------- desired, observed

  /** See {@link WantedSlots.take}. */
  want(set: DesiredSet): Promise<void> {
    return this.#wanted.take(set);
  }

  /** See {@link Sightings.take}. */
  see(observed: readonly ObservedResource[], nowMs: number, kind: AnswerKind = "complete"): Promise<boolean> {
    return this.#sightings.take(observed, nowMs, kind);
  }
}
