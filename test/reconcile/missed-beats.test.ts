import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { missedBeats } from "../../src/reconcile/missed-beats.ts";
import type { HeartbeatHistory } from "../../src/reconcile/staleness.ts";

const LAST_AT = 500_000;
const beaten: HeartbeatHistory = { incarnation: 1, provisionedAt: 1, lastHeartbeatAt: LAST_AT, intervalsMs: [] };
const never: HeartbeatHistory = { incarnation: 1, provisionedAt: LAST_AT, intervalsMs: [] };

describe("missedBeats", () => {
  it("is suspect strictly after one interval, and stale strictly after as many as may be missed", () => {
    const policy = missedBeats({ intervalMs: 5_000, missed: 3 });
    expect(policy.assess(beaten, LAST_AT + 5_000)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 5_001 });
    expect(policy.assess(beaten, LAST_AT + 5_001)).toEqual({ verdict: "suspect", nextCheckAt: LAST_AT + 15_001 });
    expect(policy.assess(beaten, LAST_AT + 15_000)).toEqual({ verdict: "suspect", nextCheckAt: LAST_AT + 15_001 });
    expect(policy.assess(beaten, LAST_AT + 15_001)).toEqual({ verdict: "stale" });
  });

  it("goes from fresh to stale where a single one may be missed", () => {
    const policy = missedBeats({ intervalMs: 5_000, missed: 1 });
    expect(policy.assess(beaten, LAST_AT + 5_000).verdict).toBe("fresh");
    expect(policy.assess(beaten, LAST_AT + 5_001).verdict).toBe("stale");
  });

  it("misses nothing of one that has never beaten, until its startup grace is over", () => {
    const policy = missedBeats({ intervalMs: 5_000, missed: 3 });
    expect(policy.assess(never, LAST_AT + 60_000)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 60_001 });
    expect(policy.assess(never, LAST_AT + 60_001)).toEqual({ verdict: "stale" });
    expect(policy.assess({ incarnation: 1, intervalsMs: [] }, LAST_AT)).toEqual({ verdict: "fresh" });
  });

  it("takes a beat from the future as of now", () => {
    const policy = missedBeats({ intervalMs: 5_000, missed: 3 });
    expect(policy.assess(beaten, 7)).toEqual({ verdict: "fresh", nextCheckAt: 5_008 });
  });

  it("keeps its promise of quiet, and its verdict until nextCheckAt", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 2_000 }),
        fc.constantFrom(beaten, never),
        fc.nat({ max: 3_000 }),
        (intervalMs, missed, startupGraceMs, history, age) => {
          const policy = missedBeats({ intervalMs, missed, startupGraceMs });
          const { verdict, nextCheckAt } = policy.assess(history, LAST_AT + age);
          if (age <= (policy.quietMs as number)) expect(verdict).not.toBe("stale");
          expect(nextCheckAt === undefined).toBe(verdict === "stale");
          if (nextCheckAt === undefined) return;
          expect(policy.assess(history, nextCheckAt - 1).verdict).toBe(verdict);
          expect(policy.assess(history, nextCheckAt).verdict).not.toBe(verdict);
        },
      ),
    );
    expect(missedBeats({ intervalMs: 5_000, missed: 3 }).quietMs).toBe(15_000);
    expect(missedBeats({ intervalMs: 50_000, missed: 3 }).quietMs).toBe(60_000);
  });

  it("is frozen, and so are its answers", () => {
    const policy = missedBeats({ intervalMs: 5_000, missed: 3 });
    expect(Object.isFrozen(policy)).toBe(true);
    expect(Object.isFrozen(policy.assess(beaten, LAST_AT))).toBe(true);
  });

  const wrong = [-1, 0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "5s", null].flatMap((value) =>
    ["intervalMs", "missed", "startupGraceMs"].map((name): [string, unknown] => [name, value]),
  );
  it.each([
    ...wrong,
    ["intervalMs", undefined],
    ["missed", undefined],
    ["missed", Number.MAX_SAFE_INTEGER],
    ["confirmations", 2],
  ] as [string, unknown][])("refuses %s: %s by its name", (name, value) => {
    expect(() => missedBeats({ intervalMs: 5_000, missed: 3, [name]: value } as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });
});
