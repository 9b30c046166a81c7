import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { acceptOptions } from "../../src/option-rules.ts";
import { disruptionBudget, MAX_UNAVAILABLE, type MaxUnavailable } from "../../src/reconcile/disruption-budget.ts";

const budget = (maxUnavailable: MaxUnavailable, desired: number, unavailable = 0): number =>
  disruptionBudget({ maxUnavailable, desired, unavailable });

describe("disruptionBudget", () => {
  it("takes a number as it is, and a percentage of the desired, rounded down", () => {
    expect([budget(3, 10), budget(3, 1_000)]).toEqual([3, 3]);
    expect([budget("10%", 10), budget("10%", 19), budget("10%", 20), budget("10%", 1_000)]).toEqual([1, 1, 2, 100]);
    expect([budget("29%", 100), budget("57%", 100), budget("100%", 7)]).toEqual([29, 57, 7]);
  });

  it("allows at least one, so that a small group can be updated", () => {
    expect([budget("10%", 9), budget("1%", 1), budget("10%", 0)]).toEqual([1, 1, 1]);
  });

  it("is less by what is unavailable already, and never negative", () => {
    expect([budget(3, 10, 1), budget(3, 10, 3), budget(3, 10, 8)]).toEqual([2, 0, 0]);
    expect(budget("10%", 9, 1)).toBe(0);
  });

  it("never lets more be unavailable than it allows, unless more are already", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.nat({ max: 1_000_000 }),
        fc.nat({ max: 1_000_000 }),
        (percent, desired, unavailable) => {
          const more = budget(`${percent}%`, desired, unavailable);
          const allowed = Math.max(1, Number((BigInt(desired) * BigInt(percent)) / 100n));
          expect(more).toBe(unavailable >= allowed ? 0 : allowed - unavailable);
        },
      ),
    );
  });
});

describe("MAX_UNAVAILABLE", () => {
  const accept = (maxUnavailable: unknown) =>
    acceptOptions("Reconciler", { maxUnavailable: MAX_UNAVAILABLE }, { maxUnavailable });

  it.each([1, 5, 1_000, "1%", "10%", "99%", "100%"])("accepts %s", (value) => {
    expect(() => accept(value)).not.toThrow();
  });

  it.each([
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "0%",
    "5",
    "",
    "%",
    "-1%",
    "101%",
    "1.5%",
    "010%",
    " 5%",
    "5% ",
    "5%\n",
    null,
    true,
  ])("refuses %s", (value) => {
    expect(() => accept(value)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("maxUnavailable") }),
    );
  });
});
