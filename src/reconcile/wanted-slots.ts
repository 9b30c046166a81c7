import { type DesiredSet, entriesOf } from "../resources/desired-text.ts";
import { turnTaker } from "../resources/in-turns.ts";
import type { WantedSpec } from "./slot.ts";
import type { MutableSlot, SlotTable } from "./slot-table.ts";

const NO_SPEC: WantedSpec = Object.freeze({});

/** Which slots of a group are wanted, and what is wanted there. */
export class WantedSlots {
  readonly #group: string;
  readonly #slots: SlotTable;
  #desired: DesiredSet | undefined;
  #count = 0;
  #round = 0;

  constructor(group: string, slots: SlotTable) {
    this.#group = group;
    this.#slots = slots;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes in what is wanted. Costs what there is only where it is a list. */
  async take(set: DesiredSet): Promise<void> {
    const before = this.#desired;
    if (set.kind === "count" && before?.kind === "count") {
      await this.#takeRange(before.count, set.count);
    } else if (set !== before) {
      await this.#takeEach(set);
    }
    this.#desired = set;
  }

  async #takeRange(from: number, to: number): Promise<void> {
    const turns = turnTaker();
    for (let index = Math.min(from, to); index < Math.max(from, to); index += 1) {
      const id = `${this.#group}-${index}`;
      if (to > from) this.#want(this.#slots.of(id), NO_SPEC, undefined);
      else this.#unwant(this.#slots.get(id));
      if (turns.isDue()) await turns.turn();
    }
  }

  async #takeEach(set: DesiredSet): Promise<void> {
    const turns = turnTaker();
    this.#round += 1;
    for (const { id, spec, deletionCost } of entriesOf(this.#group, set)) {
      const slot = this.#slots.of(id);
      this.#want(slot, spec === undefined ? NO_SPEC : { spec }, deletionCost);
      slot.wantedIn = this.#round;
      if (turns.isDue()) await turns.turn();
    }
    for (const slot of this.#slots.all()) {
      if (slot.wanted !== undefined && slot.wantedIn !== this.#round) this.#unwant(slot);
      if (turns.isDue()) await turns.turn();
    }
  }

  #want(slot: MutableSlot, wanted: WantedSpec, deletionCost: number | undefined): void {
    slot.lastCost = deletionCost;
    if (slot.wanted !== undefined && slot.wanted.spec === wanted.spec) return;
    if (slot.wanted === undefined) this.#count += 1;
    slot.wanted = wanted;
    this.#slots.soil(slot);
  }

  #unwant(slot: MutableSlot | undefined): void {
    if (slot?.wanted === undefined) return;
    this.#count -= 1;
    slot.wanted = undefined;
    this.#slots.soil(slot);
  }
}
