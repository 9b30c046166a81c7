import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgeMass, type MassGuardSettings, massGuardSettings } from "../../src/reconcile/mass-guard.ts";

const defaults = massGuardSettings(undefined) as MassGuardSettings;
const NOW = 1_000_000;
const modeOf = (rows: number, stale: number, settings: MassGuardSettings | false = defaults): string =>
  judgeMass({ rows, stale, nowMs: NOW }, settings).mode;

describe("judgeMass", () => {
  it("never acts below 10 rows, even when all are stale", () => {
    for (let rows = 0; rows < 10; rows += 1)
      for (let stale = 0; stale <= rows; stale += 1) expect(modeOf(rows, stale)).toBe("off");
  });

  it("slows from half on, and holds when all are stale", () => {
    expect([modeOf(10, 4), modeOf(10, 5), modeOf(10, 9), modeOf(10, 10)]).toEqual(["off", "slow", "slow", "hold"]);
    expect([modeOf(11, 5), modeOf(11, 6)]).toEqual(["off", "slow"]);
    expect([modeOf(1_000, 499), modeOf(1_000, 500), modeOf(1_000, 1_000)]).toEqual(["off", "slow", "hold"]);
    expect(modeOf(10, 0)).toBe("off");
  });

  it("needs as many stale as it is told, and takes a fraction exactly", () => {
    const settings = massGuardSettings({ minRows: 1, minStale: 3, fraction: 0.07 });
    expect([modeOf(100, 6, settings), modeOf(100, 7, settings)]).toEqual(["off", "slow"]);
    expect([modeOf(20, 2, settings), modeOf(2, 2, settings), modeOf(3, 3, settings)]).toEqual(["off", "off", "hold"]);
    const all = massGuardSettings({ fraction: 1 });
    expect([modeOf(10, 9, all), modeOf(10, 10, all)]).toEqual(["off", "hold"]);
  });

  it("lets one be replaced at once, and the next an interval after the last", () => {
    const next = (lastReplacementAt?: number) =>
      judgeMass(
        { rows: 10, stale: 5, nowMs: NOW, ...(lastReplacementAt === undefined ? {} : { lastReplacementAt }) },
        defaults,
      );
    expect(next()).toEqual({ mode: "slow", nextReplacementAt: NOW });
    expect(next(NOW)).toEqual({ mode: "slow", nextReplacementAt: NOW + 10_000 });
    expect(next(NOW - 9_999)).toEqual({ mode: "slow", nextReplacementAt: NOW + 1 });
    expect(next(NOW - 10_000)).toEqual({ mode: "slow", nextReplacementAt: NOW });
    expect(next(NOW - 90_000)).toEqual({ mode: "slow", nextReplacementAt: NOW });
  });

  it("waits for one interval at most after a clock that went back", () => {
    const input = { rows: 10, stale: 5, nowMs: NOW, lastReplacementAt: NOW + 3_600_000 };
    expect(judgeMass(input, defaults)).toEqual({ mode: "slow", nextReplacementAt: NOW + 10_000 });
  });

  it("gets no milder with more stale rows, and does nothing when it is off", () => {
    const rank: Record<string, number> = { off: 0, slow: 1, hold: 2 };
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.nat({ max: 200 }), (a, b) => {
        const rows = Math.max(a, b);
        const stale = Math.min(a, b);
        expect(modeOf(rows, stale, false)).toBe("off");
        if (stale < rows)
          expect(rank[modeOf(rows, stale + 1)]).toBeGreaterThanOrEqual(rank[modeOf(rows, stale)] as number);
      }),
    );
  });
});

describe("massGuardSettings", () => {
  it("fills the defaults in", () => {
    expect(defaults).toEqual({ minRows: 10, minStale: 3, fraction: 0.5, replacementIntervalMs: 10_000 });
    expect(massGuardSettings({ minRows: 20, fraction: 1 })).toEqual({ ...defaults, minRows: 20, fraction: 1 });
    expect(massGuardSettings(false)).toBe(false);
    expect(Object.isFrozen(defaults)).toBe(true);
  });

  const wrong = [-1, 0, Number.NaN, Number.POSITIVE_INFINITY, "5s", 1.5, null].flatMap((value) =>
    ["minRows", "minStale", "fraction", "replacementIntervalMs"].map((name): [string, unknown] => [name, value]),
  );
  it.each([...wrong, ["rows", 5]] as [string, unknown][])("refuses %s: %s by its name", (name, value) => {
    expect(() => massGuardSettings({ [name]: value } as never)).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTIONS",
        message: expect.stringMatching(new RegExp(`massGuard.*${name}`)),
      }),
    );
  });

  it.each([true, null, 5, "off", []])("refuses %s in its place", (given) => {
    expect(() => massGuardSettings(given as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("massGuard") }),
    );
  });
});
