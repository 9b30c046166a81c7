import { turnTaker } from "../resources/in-turns.ts";
import type { ObservedResource } from "./observation.ts";
import { identityOf, isSameSight, observedItem, stillHeard } from "./sight.ts";
import type { ObservedItem } from "./slot.ts";
import { type MutableSlot, NO_ITEMS, NOTHING_SEEN, type SlotTable } from "./slot-table.ts";
import type { AnswerKind } from "./verdict.ts";

/** What was observed at the slots of a group. */
export class Sightings {
  readonly #slots: SlotTable;
  #round = 0;

  constructor(slots: SlotTable) {
    this.#slots = slots;
  }

  /**
   * Takes an answer in. What it lacks has no items, whatever may be concluded from that; where it is not complete, the beats that
   * were heard of what it lacks are still known.
   * @returns whether any beat is known from observing.
   */
  async take(observed: readonly ObservedResource[], nowMs: number, kind: AnswerKind): Promise<boolean> {
    const turns = turnTaker();
    this.#round += 1;
    for (const item of observed) {
      const slot = this.#slots.of(item.id);
      if (slot.seenIn === this.#round) slot.seen.push(item);
      else slot.seen = [item];
      slot.seenIn = this.#round;
      if (turns.isDue()) await turns.turn();
    }
    let anyBeats = false;
    for (const slot of this.#slots.all()) {
      const items = slot.seenIn === this.#round ? itemsOf(slot, nowMs) : NO_ITEMS;
      if (!isSameSight(slot.items, items)) this.#slots.soil(slot);
      slot.items = items;
      slot.heard = kind === "complete" ? items : stillHeard(items, slot.heard);
      slot.seen = NOTHING_SEEN;
      anyBeats ||= slot.heard.some(({ beatAt }) => beatAt !== undefined);
      if (turns.isDue()) await turns.turn();
    }
    return anyBeats;
  }
}

function itemsOf({ seen, heard }: MutableSlot, nowMs: number): readonly ObservedItem[] {
  if (seen.length > 1) seen.sort((a, b) => (identityOf(a) < identityOf(b) ? -1 : 1));
  return seen.map((item) => observedItem(item, heard, nowMs));
}
