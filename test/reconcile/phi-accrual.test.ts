import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { phiAccrual, phiOf } from "../../src/reconcile/phi-accrual.ts";
import type { HeartbeatHistory } from "../../src/reconcile/staleness.ts";
import { seededRandom } from "../../src/testing/seeded-random.ts";

const LAST_AT = 1_000_000;

function history(intervalsMs: number[]): HeartbeatHistory {
  return { incarnation: 1, provisionedAt: 0, lastHeartbeatAt: LAST_AT, intervalsMs };
}

const steady = (ms: number, count = 20): number[] => Array.from({ length: count }, () => ms);

/** Looks as the Reconciler does: only when it was told to, and learns intervals only from what it sees then. */
function watchBeats(beats: readonly number[], untilAt: number) {
  const policy = phiAccrual();
  const seen: { lastHeartbeatAt?: number; intervalsMs: number[] } = { intervalsMs: [] };
  let looks = 0;
  for (let now = 0; now <= untilAt; looks += 1) {
    const lastHeartbeatAt = beats.findLast((at) => at <= now);
    if (lastHeartbeatAt !== undefined && lastHeartbeatAt !== seen.lastHeartbeatAt) {
      if (seen.lastHeartbeatAt !== undefined) seen.intervalsMs.push(lastHeartbeatAt - seen.lastHeartbeatAt);
      if (seen.intervalsMs.length > 100) seen.intervalsMs.shift();
      seen.lastHeartbeatAt = lastHeartbeatAt;
    }
    const { verdict, nextCheckAt } = policy.assess({ incarnation: 1, provisionedAt: 0, ...seen }, now);
    if (verdict === "stale") return { staleAt: now, looks, ...seen };
    expect(nextCheckAt).toBeGreaterThan(now);
    now = nextCheckAt as number;
  }
  return { staleAt: undefined, looks, ...seen };
}

describe("phiAccrual", () => {
  it.each([
    [1_000, 0],
    [1_000, 300],
    [200, 50],
    [5_000, 4_000],
    [20_000, 1_000],
  ])(
    "learns beats of %i ms (jitter %i ms) as they are by looking when it asks to, and sees the end",
    (ms, jitterMs) => {
      const random = seededRandom(7);
      const beats: number[] = [];
      let at = 300;
      for (let i = 0; i < 300; i += 1, at += ms + Math.round((random.float() - 0.5) * jitterMs)) beats.push(at);
      const lastAt = beats.at(-1) as number;
      const { staleAt, looks, intervalsMs } = watchBeats(beats, lastAt + 20 * ms);
      const meanMs = intervalsMs.reduce((sum, interval) => sum + interval, 0) / intervalsMs.length;
      expect(meanMs / ms).toBeGreaterThan(0.9);
      expect(meanMs / ms).toBeLessThan(1.2);
      expect(staleAt).toBeGreaterThan(lastAt + ms);
      expect(staleAt).toBeLessThan(lastAt + 4 * ms);
      expect(looks).toBeLessThan(4 * beats.length);
    },
  );

  it("is never less suspicious of a longer silence", () => {
    const rank = { fresh: 0, suspect: 1, stale: 2 };
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 120_000 }), { maxLength: 100 }),
        fc.double({ min: 0.01, max: 400, noNaN: true }),
        fc.nat({ max: 10_000_000 }),
        fc.nat({ max: 10_000_000 }),
        (intervalsMs, threshold, age, more) => {
          const policy = phiAccrual({ threshold });
          const sooner = policy.assess(history(intervalsMs), LAST_AT + age);
          const later = policy.assess(history(intervalsMs), LAST_AT + age + more);
          expect(rank[later.verdict]).toBeGreaterThanOrEqual(rank[sooner.verdict]);
        },
      ),
    );
  });

  it("gives the same verdict until nextCheckAt, which is later than now and at most half a mean interval away", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 500, max: 60_000 }), { minLength: 1, maxLength: 100 }),
        fc.nat({ max: 200_000 }),
        (intervalsMs, age) => {
          const now = LAST_AT + age;
          const { verdict, nextCheckAt } = phiAccrual().assess(history(intervalsMs), now);
          expect(nextCheckAt === undefined).toBe(verdict === "stale");
          if (nextCheckAt === undefined) return;
          const meanMs = intervalsMs.reduce((sum, ms) => sum + ms, 0) / intervalsMs.length;
          expect(nextCheckAt).toBeGreaterThan(now);
          expect(nextCheckAt).toBeLessThanOrEqual(now + Math.ceil(meanMs / 2));
          expect(phiAccrual().assess(history(intervalsMs), nextCheckAt - 1).verdict).toBe(verdict);
        },
      ),
    );
  });

  it("is suspect from half the threshold on and stale from the threshold on, to the millisecond", () => {
    const intervalsMs = Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 4_000 : 16_000));
    const at = (ms: number) => phiAccrual().assess(history(intervalsMs), LAST_AT + ms).verdict;
    // Mean 10,000, deviation 6,000; φ reaches 4 and 8 at 3.7190 and 5.6120 deviations.
    expect(phiOf((32_314 - 10_000) / 6_000)).toBeLessThan(4);
    expect(phiOf((32_315 - 10_000) / 6_000)).toBeGreaterThan(4);
    expect([at(32_314), at(32_315)]).toEqual(["fresh", "suspect"]);
    expect(phiOf((43_672 - 10_000) / 6_000)).toBeLessThan(8);
    expect(phiOf((43_673 - 10_000) / 6_000)).toBeGreaterThan(8);
    expect([at(43_672), at(43_673)]).toEqual(["suspect", "stale"]);
  });

  it("is more patient with irregular beats than with regular ones of the same mean, and with a higher threshold", () => {
    const regular = history(steady(10_000));
    const irregular = history(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 2_000 : 18_000)));
    const at = LAST_AT + 30_000;
    expect(phiAccrual().assess(regular, at).verdict).toBe("stale");
    expect(phiAccrual().assess(irregular, at).verdict).toBe("fresh");
    expect(phiAccrual({ threshold: 30 }).assess(regular, at).verdict).toBe("suspect");
  });

  it("takes one lost beat of a perfectly regular resource for no end", () => {
    for (const ms of [10, 100, 1_000, 30_000])
      expect(phiAccrual().assess(history(steady(ms)), LAST_AT + 2 * ms).verdict).not.toBe("stale");
    expect(phiAccrual().assess(history(steady(1_000)), LAST_AT + 2_500).verdict).toBe("stale");
  });

  it("is never suspicious before a beat is due, however low the threshold", () => {
    const policy = phiAccrual({ threshold: 1e-9 });
    expect(policy.assess(history(steady(1_000)), LAST_AT + 999).verdict).toBe("fresh");
    expect(policy.assess(history(steady(1_000)), LAST_AT + 1_000).verdict).toBe("stale");
  });

  it("waits 30 s while there are fewer samples than it needs", () => {
    const at = (ms: number, samples: number, minSamples?: number) =>
      phiAccrual({ ...(minSamples === undefined ? {} : { minSamples }) }).assess(
        history(steady(1_000, samples)),
        LAST_AT + ms,
      ).verdict;
    expect([at(30_000, 9), at(30_001, 9)]).toEqual(["fresh", "stale"]);
    expect([at(30_000, 0), at(30_001, 0)]).toEqual(["fresh", "stale"]);
    expect(at(5_000, 10)).toBe("stale");
    expect(at(5_000, 99, 100)).toBe("fresh");
    expect(at(5_000, 1, 1)).toBe("stale");
  });

  it("waits for the startup grace where there was no beat, and for ever where it is not provisioned", () => {
    const never: HeartbeatHistory = { incarnation: 1, provisionedAt: LAST_AT, intervalsMs: [] };
    const policy = phiAccrual({ startupGraceMs: 5_000 });
    expect(policy.assess(never, LAST_AT + 5_000)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 5_001 });
    expect(policy.assess(never, LAST_AT + 5_001)).toEqual({ verdict: "stale" });
    expect(phiAccrual().assess(never, LAST_AT + 60_000).verdict).toBe("fresh");
    expect(policy.assess({ incarnation: 1, intervalsMs: [] }, 1e15)).toEqual({ verdict: "fresh" });
  });

  it("takes a beat from the future as of now, and leaves out intervals that are none", () => {
    const policy = phiAccrual();
    expect(policy.assess(history(steady(1_000)), LAST_AT - 50_000)).toEqual({
      verdict: "fresh",
      nextCheckAt: LAST_AT - 49_500,
    });
    const odd = [Number.NaN, -5, Number.POSITIVE_INFINITY, 1e300, ...steady(1_000, 10)];
    for (const ms of [0, 1_500, 2_000, 9_000])
      expect(policy.assess(history(odd), LAST_AT + ms)).toEqual(policy.assess(history(steady(1_000)), LAST_AT + ms));
    const { nextCheckAt } = policy.assess(history(steady(0)), LAST_AT);
    expect(nextCheckAt).toBe(LAST_AT + 100);
  });

  it("makes no promise of quiet, and its answers and itself are frozen", () => {
    const policy = phiAccrual();
    expect(policy.quietMs).toBeUndefined();
    expect(Object.isFrozen(policy)).toBe(true);
    expect(Object.isFrozen(policy.assess(history(steady(1_000)), LAST_AT))).toBe(true);
  });

  const wrong = [-1, 0, Number.NaN, Number.POSITIVE_INFINITY, "5s", null].flatMap((value) =>
    ["threshold", "minSamples", "startupGraceMs"].map((name): [string, unknown] => [name, value]),
  );
  it.each([...wrong, ["minSamples", 1.5], ["minSamples", 101], ["window", 5]] as [string, unknown][])(
    "refuses %s: %s by its name",
    (name, value) => {
      expect(() => phiAccrual({ [name]: value } as never)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
      );
    },
  );
});

describe("phiOf", () => {
  it.each([
    // By mpmath with 40 digits.
    [0, 0.3010299956639812],
    [1, 0.7995455414919705],
    [2.8, 2.592586942753496],
    [2.9, 2.729131815396352],
    [5.612, 7.999996876659294],
    [10, 23.118053405486076],
    [38, 315.5397897039625],
    [50, 544.9663358619966],
    [200, 8688.589768851563],
  ])("is right at %d deviations", (deviations, phi) => {
    expect(Math.abs(phiOf(deviations) / phi - 1)).toBeLessThan(1e-13);
  });

  it("rises with the deviations, across the joint of its two formulas too", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -60, max: 1e6, noNaN: true }),
        fc.double({ min: 1e-6, max: 1e3, noNaN: true }),
        (deviations, more) => {
          expect(phiOf(deviations + more)).toBeGreaterThanOrEqual(phiOf(deviations));
        },
      ),
    );
    const joint = 2 * Math.SQRT2;
    for (let i = -1_000; i < 1_000; i += 1)
      expect(phiOf(joint + (i + 1) * 1e-9)).toBeGreaterThan(phiOf(joint + i * 1e-9));
  });

  it("is never NaN and never negative, however far out", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (deviations) => {
        expect(phiOf(deviations)).toBeGreaterThanOrEqual(0);
      }),
    );
    expect(phiOf(1e150)).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(phiOf(Number.MAX_VALUE)).toBe(Number.POSITIVE_INFINITY);
    expect(phiOf(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
    expect(phiOf(Number.NEGATIVE_INFINITY)).toBe(0);
  });
});
