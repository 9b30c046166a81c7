import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Selection, type SelectionOrder } from "../../src/reconcile/selection.ts";

const sort = (batch: number[]): number[] => batch.sort((a, b) => a - b);
const orders: readonly SelectionOrder<number>[] = [{ sort }, { sort, isAfter: (item, other) => item > other }];

describe("Selection", () => {
  it("keeps the first of all that came, in order, and counts the others", () => {
    const items = fc.oneof(
      fc.array(fc.nat(5_000), { maxLength: 3_000, size: "max" }),
      fc.nat(3_000).map((length) => Array.from({ length }, (_, index) => length - index)),
    );
    fc.assert(
      fc.property(items, fc.integer({ min: 1, max: 700 }), fc.constantFrom(...orders), (all, bound, order) => {
        const selection = new Selection(bound, order);
        for (const item of all) selection.add(item);
        expect(selection.first()).toEqual(sort([...all]).slice(0, bound));
        expect(selection.dropped).toBe(Math.max(0, all.length - bound));
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});
