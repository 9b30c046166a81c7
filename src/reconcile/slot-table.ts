import { turnTaker } from "../resources/in-turns.ts";
import { ShardedMap } from "../sharded-map.ts";
import type { ResourceRow } from "../store.ts";
import type { ObservedResource } from "./observation.ts";
import type { ObservedItem, Slot, WantedSpec } from "./slot.ts";

export const NO_ITEMS: readonly ObservedItem[] = Object.freeze([]);
export const NO_ROWS: readonly ResourceRow[] = Object.freeze([]);
/** Never pushed to. */
export const NOTHING_SEEN: ObservedResource[] = [];

/** There may be a million: every field is there from the beginning, and lists are never longer than what they hold. */
export interface MutableSlot extends Slot {
  rows: readonly ResourceRow[];
  wanted: WantedSpec | undefined;
  lastCost: number | undefined;
  items: readonly ObservedItem[];
  heard: readonly ObservedItem[];
  /** Of the answer that is being taken in, until all of it is here. */
  seen: ObservedResource[];
  /** The rounds in which it was last wanted and last observed. */
  wantedIn: number;
  seenIn: number;
}

/** The slots of a group, and which of them are dirty: those that have to be judged. */
export class SlotTable {
  readonly #slots = new ShardedMap<MutableSlot>();
  readonly #dirty = new ShardedMap<MutableSlot>();

  get size(): number {
    return this.#slots.size;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  get(id: string): MutableSlot | undefined {
    return this.#slots.get(id);
  }

  all(): Iterable<MutableSlot> {
    return this.#slots.values();
  }

  dirty(): Iterable<Slot> {
    return this.#dirty.values();
  }

  /** The slot of the id, which is made if there is none. */
  of(id: string): MutableSlot {
    const known = this.#slots.get(id);
    if (known !== undefined) return known;
    const slot: MutableSlot = {
      id,
      rows: NO_ROWS,
      wanted: undefined,
      lastCost: undefined,
      items: NO_ITEMS,
      heard: NO_ITEMS,
      seen: NOTHING_SEEN,
      wantedIn: 0,
      seenIn: 0,
    };
    this.#slots.set(id, slot);
    return slot;
  }

  soil(slot: MutableSlot): void {
    this.#dirty.set(slot.id, slot);
  }

  async soilAll(): Promise<void> {
    const turns = turnTaker();
    for (const slot of this.#slots.values()) {
      this.soil(slot);
      if (turns.isDue()) await turns.turn();
    }
  }

  /** Nothing is to be done about the slot until something about it changes. */
  settle(id: string): void {
    this.#dirty.delete(id);
    const slot = this.#slots.get(id);
    if (slot !== undefined) this.forgetEmpty(slot);
  }

  /** Forgets the slot if nothing is known of it. */
  forgetEmpty(slot: MutableSlot): void {
    if (slot.rows.length > 0 || slot.wanted !== undefined || slot.items.length > 0) return;
    this.#slots.delete(slot.id);
    this.#dirty.delete(slot.id);
  }
}
