import { turnOfEventLoop } from "../clock.ts";
import type { DesiredSet } from "../resources/desired-text.ts";
import { entriesOf } from "../resources/desired-text.ts";
import { turnTaker } from "../resources/in-turns.ts";
import { ShardedMap } from "../sharded-map.ts";
import type { ChangedResources, ResourceRow, ResourceState } from "../store.ts";
import type { ObservedResource } from "./observation.ts";
import { identityOf, isSameSight, observedItem } from "./sight.ts";
import { SilentReplacements } from "./silent-replacements.ts";
import { isLive, type ObservedItem, type Slot, type WantedSpec } from "./slot.ts";
import { Tombstones } from "./tombstones.ts";

const NO_ITEMS: readonly ObservedItem[] = Object.freeze([]);
/** Never pushed to. */
const NOTHING_SEEN: ObservedResource[] = [];
const NO_ROWS: readonly ResourceRow[] = Object.freeze([]);
const NO_SPEC: WantedSpec = Object.freeze({});

/** There may be a million: every field is there from the beginning, and lists are never longer than what they hold. */
interface MutableSlot extends Slot {
  rows: readonly ResourceRow[];
  wanted: WantedSpec | undefined;
  lastCost: number | undefined;
  items: readonly ObservedItem[];
  /** Of the answer that is being taken in, until all of it is here. */
  seen: ObservedResource[];
  /** The rounds in which it was last wanted and last observed. */
  wantedIn: number;
  seenIn: number;
}

/**
 * What a reconciler knows of its group, kept from pass to pass, so that a pass costs what changed and not what there is. A slot is
 * dirty when something about it changed, or when it was not settled when it was last looked at; the others need not be judged.
 */
export class LedgerView {
  readonly #group: string;
  readonly #slots = new ShardedMap<MutableSlot>();
  readonly #dirty = new ShardedMap<MutableSlot>();
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
  #desired: DesiredSet | undefined;
  #wanted = 0;
  #round = 0;

  constructor(group: string) {
    this.#group = group;
  }

  /** How many slots have a live row. */
  get live(): number {
    return this.#live;
  }

  /** How many slots are wanted. */
  get wanted(): number {
    return this.#wanted;
  }

  /** Rows by state. */
  get states(): Readonly<Record<ResourceState, number>> {
    return this.#states;
  }

  get size(): number {
    return this.#slots.size;
  }

  slot(id: string): Slot | undefined {
    return this.#slots.get(id);
  }

  slots(): Iterable<Slot> {
    return this.#slots.values();
  }

  /** The slots that have to be judged. */
  dirty(): Iterable<Slot> {
    return this.#dirty.values();
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  touch(id: string): void {
    const slot = this.#slots.get(id);
    if (slot !== undefined) this.#soil(slot);
  }

  async touchAll(): Promise<void> {
    const turns = turnTaker();
    for (const slot of this.#slots.values()) {
      this.#soil(slot);
      if (turns.isDue()) await turns.turn();
    }
  }

  /** Nothing is to be done about the slot until something about it changes. */
  settle(id: string): void {
    this.#dirty.delete(id);
    const slot = this.#slots.get(id);
    if (slot !== undefined) this.#forgetEmpty(slot);
  }

  // --------------------------------------------------------------------------------------------------- rows

  /** Takes in what was written since the last time, until there is nothing new. */
  async refresh(read: (cursor: string | undefined) => Promise<ChangedResources>, pageSize: number): Promise<void> {
    for (;;) {
      const { rows, cursor, reset } = await read(this.#cursor);
      if (reset) await this.#clearRows();
      for (const row of rows) this.applyRow(row);
      this.#cursor = cursor;
      if (rows.length < pageSize) return;
      // A store in this process answers without a turn.
      await turnOfEventLoop();
    }
  }

  /** Takes a row in, unless a later one of the incarnation is known. */
  applyRow(row: ResourceRow): void {
    const slot = this.#slotOf(row.id);
    const at = slot.rows.findIndex(({ incarnation }) => incarnation === row.incarnation);
    const known = slot.rows[at];
    if (known !== undefined && known.version >= row.version) return;
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
    this.#soil(slot);
  }

  async #clearRows(): Promise<void> {
    const turns = turnTaker();
    this.#tombstones.clear();
    this.#replacements.clear();
    for (const slot of this.#slots.values()) {
      for (const { state } of slot.rows) this.#states[state] -= 1;
      if (slot.rows.some(isLive)) this.#live -= 1;
      slot.rows = NO_ROWS;
      this.#soil(slot);
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
      this.#forgetEmpty(slot);
    }
  }

  // ------------------------------------------------------------------------------------------------ desired

  /** Takes in what is wanted. Costs what there is only where it is a list. */
  async want(set: DesiredSet): Promise<void> {
    const before = this.#desired;
    if (set.kind === "count" && before?.kind === "count") {
      await this.#wantRange(before.count, set.count);
    } else if (set !== before) {
      await this.#wantEach(set);
    }
    this.#desired = set;
  }

  async #wantRange(from: number, to: number): Promise<void> {
    const turns = turnTaker();
    for (let index = Math.min(from, to); index < Math.max(from, to); index += 1) {
      const id = `${this.#group}-${index}`;
      if (to > from) this.#want(this.#slotOf(id), NO_SPEC, undefined);
      else this.#unwant(this.#slots.get(id));
      if (turns.isDue()) await turns.turn();
    }
  }

  async #wantEach(set: DesiredSet): Promise<void> {
    const turns = turnTaker();
    this.#round += 1;
    for (const { id, spec, deletionCost } of entriesOf(this.#group, set)) {
      const slot = this.#slotOf(id);
      this.#want(slot, spec === undefined ? NO_SPEC : { spec }, deletionCost);
      slot.wantedIn = this.#round;
      if (turns.isDue()) await turns.turn();
    }
    for (const slot of this.#slots.values()) {
      if (slot.wanted !== undefined && slot.wantedIn !== this.#round) this.#unwant(slot);
      if (turns.isDue()) await turns.turn();
    }
  }

  #want(slot: MutableSlot, wanted: WantedSpec, deletionCost: number | undefined): void {
    slot.lastCost = deletionCost;
    if (slot.wanted !== undefined && slot.wanted.spec === wanted.spec) return;
    if (slot.wanted === undefined) this.#wanted += 1;
    slot.wanted = wanted;
    this.#soil(slot);
  }

  #unwant(slot: MutableSlot | undefined): void {
    if (slot?.wanted === undefined) return;
    this.#wanted -= 1;
    slot.wanted = undefined;
    this.#soil(slot);
  }

  // ----------------------------------------------------------------------------------------------- observed

  /**
   * Takes in what was observed. What an answer lacks has no items, whatever may be concluded from that.
   * @returns whether an item told when it last beat.
   */
  async see(observed: readonly ObservedResource[], nowMs: number): Promise<boolean> {
    const turns = turnTaker();
    this.#round += 1;
    for (const item of observed) {
      const slot = this.#slotOf(item.id);
      if (slot.seenIn === this.#round) slot.seen.push(item);
      else slot.seen = [item];
      slot.seenIn = this.#round;
      if (turns.isDue()) await turns.turn();
    }
    let anyBeats = false;
    for (const slot of this.#slots.values()) {
      const items = slot.seenIn === this.#round ? this.#itemsOf(slot, nowMs) : NO_ITEMS;
      anyBeats ||= items.some(({ beatAt }) => beatAt !== undefined);
      if (!isSameSight(slot.items, items)) this.#soil(slot);
      slot.items = items;
      slot.seen = NOTHING_SEEN;
      if (turns.isDue()) await turns.turn();
    }
    return anyBeats;
  }

  #itemsOf({ seen, items }: MutableSlot, nowMs: number): readonly ObservedItem[] {
    if (seen.length > 1) seen.sort((a, b) => (identityOf(a) < identityOf(b) ? -1 : 1));
    return seen.map((item) => observedItem(item, items, nowMs));
  }

  // -------------------------------------------------------------------------------------------------- slots

  #slotOf(id: string): MutableSlot {
    const known = this.#slots.get(id);
    if (known !== undefined) return known;
    const slot: MutableSlot = {
      id,
      rows: NO_ROWS,
      wanted: undefined,
      lastCost: undefined,
      items: NO_ITEMS,
      seen: NOTHING_SEEN,
      wantedIn: 0,
      seenIn: 0,
    };
    this.#slots.set(id, slot);
    return slot;
  }

  #soil(slot: MutableSlot): void {
    this.#dirty.set(slot.id, slot);
  }

  #forgetEmpty(slot: MutableSlot): void {
    if (slot.rows.length > 0 || slot.wanted !== undefined || slot.items.length > 0) return;
    this.#slots.delete(slot.id);
    this.#dirty.delete(slot.id);
  }
}
