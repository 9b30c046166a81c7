import fc from "fast-check";
import { expect, it } from "vitest";
import { type Ranked, RankedHeap } from "../../src/reconcile/work-queue-heap.ts";

interface Item extends Ranked {
  readonly name: number;
}

/** By rank, then by their coming: what the heap has to do, from end to end. */
function sorted(items: readonly Item[]): Item[] {
  return [...items].sort((a, b) => a.rank - b.rank || a.name - b.name);
}

it("gives out the lowest rank first, and of equals the first in, whatever was moved or taken out between", () => {
  const rank = fc.integer({ min: 0, max: 20 });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("push" as const), rank }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("pop" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), at: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("move" as const), at: fc.nat(), rank }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const heap = new RankedHeap<Item>();
      let held: Item[] = [];
      steps.forEach((action, name) => {
        const chosen = "at" in action ? held[action.at % held.length] : undefined;
        if (action.do === "push") {
          const item = { name, rank: action.rank, order: 0, position: -1 };
          heap.push(item);
          held.push(item);
        } else if (action.do === "pop") {
          const popped = heap.pop();
          expect(popped).toBe(sorted(held)[0]);
          held = held.filter((item) => item !== popped);
        } else if (chosen !== undefined && action.do === "move") {
          chosen.rank = action.rank;
          heap.moved(chosen);
        } else if (chosen !== undefined) {
          heap.remove(chosen);
          heap.remove(chosen);
          held = held.filter((item) => item !== chosen);
        }
        expect(heap.size).toBe(held.length);
        expect(heap.peek()).toBe(sorted(held)[0]);
      });
      const rest = sorted(held);
      expect(rest.map(() => heap.pop())).toEqual(rest);
      expect(heap.pop()).toBeUndefined();
    }),
  );
});

it("lets items in again that were cleared out", () => {
  const heap = new RankedHeap<Item>();
  const items = [3, 1, 2].map((rank, name) => ({ name, rank, order: 0, position: -1 }));
  for (const item of items) heap.push(item);
  heap.clear();
  for (const item of items) heap.remove(item);
  expect(heap.size).toBe(0);
  for (const item of items) heap.push(item);
  expect(items.map(() => heap.pop()?.rank)).toEqual([1, 2, 3]);
});
