import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { acceptAssessment, fixedThreshold, type HeartbeatHistory } from "../../src/reconcile/staleness.ts";

const LAST_AT = 500_000;
const beaten: HeartbeatHistory = { incarnation: 1, provisionedAt: 1, lastHeartbeatAt: LAST_AT, intervalsMs: [] };
const never: HeartbeatHistory = { incarnation: 1, provisionedAt: LAST_AT, intervalsMs: [] };

describe("fixedThreshold", () => {
  it("finds 30,000 ms fresh and 30,001 ms stale", () => {
    const policy = fixedThreshold({ staleAfterMs: 30_000 });
    expect(policy.assess(beaten, LAST_AT)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 30_001 });
    expect(policy.assess(beaten, LAST_AT + 30_000)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 30_001 });
    expect(policy.assess(beaten, LAST_AT + 30_001)).toEqual({ verdict: "stale" });
  });

  it("gives one that has never beaten the startup grace from when it was provisioned", () => {
    const policy = fixedThreshold({ staleAfterMs: 30_000 });
    expect(policy.assess(never, LAST_AT + 60_000)).toEqual({ verdict: "fresh", nextCheckAt: LAST_AT + 60_001 });
    expect(policy.assess(never, LAST_AT + 60_001)).toEqual({ verdict: "stale" });
    expect(policy.assess({ incarnation: 1, intervalsMs: [] }, LAST_AT)).toEqual({ verdict: "fresh" });
  });

  it("takes a beat from the future as of now, so that a clock that goes back makes nothing stale", () => {
    const policy = fixedThreshold({ staleAfterMs: 30_000 });
    const now = LAST_AT - 400_000;
    expect(policy.assess(beaten, now)).toEqual({ verdict: "fresh", nextCheckAt: now + 30_001 });
    expect(policy.assess(beaten, LAST_AT + 30_001).verdict).toBe("stale");
  });

  it("keeps its promise of quiet: nothing but fresh until then", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 1, max: 1_000 }),
        fc.constantFrom(beaten, never),
        fc.nat({ max: 1_000 }),
        (staleAfterMs, startupGraceMs, history, age) => {
          const policy = fixedThreshold({ staleAfterMs, startupGraceMs });
          if (age <= (policy.quietMs as number)) expect(policy.assess(history, LAST_AT + age).verdict).toBe("fresh");
        },
      ),
    );
    expect(fixedThreshold({ staleAfterMs: 30_000 }).quietMs).toBe(30_000);
    expect(fixedThreshold({ staleAfterMs: 90_000 }).quietMs).toBe(60_000);
  });

  describe("with confirmations", () => {
    const setUp = () => {
      const policy = fixedThreshold({ staleAfterMs: 30_000, confirmations: 3 });
      const at = (history: HeartbeatHistory, ageMs: number) => policy.assess(history, LAST_AT + ageMs).verdict;
      return { policy, at };
    };

    it("says suspect until it was found silent that often, and then stale for good", () => {
      const { policy, at } = setUp();
      const history = { ...beaten };
      expect(policy.assess(history, LAST_AT + 30_001)).toEqual({ verdict: "suspect", nextCheckAt: LAST_AT + 31_001 });
      expect(at(history, 31_001)).toBe("suspect");
      expect(at(history, 32_001)).toBe("stale");
      expect([at(history, 32_001), at(history, 40_000)]).toEqual(["stale", "stale"]);
    });

    it("asks again sooner where the threshold is short", () => {
      const policy = fixedThreshold({ staleAfterMs: 200, confirmations: 2 });
      expect(policy.assess({ ...beaten }, LAST_AT + 201)).toEqual({ verdict: "suspect", nextCheckAt: LAST_AT + 401 });
    });

    it("counts no repetition at the same time, and nothing that was fresh", () => {
      const { at } = setUp();
      const history = { ...beaten };
      expect([at(history, 10_000), at(history, 20_000), at(history, 30_000)]).toEqual(["fresh", "fresh", "fresh"]);
      for (let i = 0; i < 5; i += 1) expect(at(history, 30_001)).toBe("suspect");
      expect(at(history, 30_002)).toBe("suspect");
      expect(at(history, 30_003)).toBe("stale");
    });

    it("counts each object by itself, so that a new literal each time is never confirmed", () => {
      const { at } = setUp();
      const history = { ...beaten };
      expect([at(history, 30_001), at(history, 30_002)]).toEqual(["suspect", "suspect"]);
      for (let age = 30_003; age < 30_020; age += 1) expect(at({ ...beaten }, age)).toBe("suspect");
      expect(at(history, 30_020)).toBe("stale");
    });

    it.each([
      ["a new heartbeat", { lastHeartbeatAt: LAST_AT + 1 }],
      ["a new incarnation", { incarnation: 2 }],
    ])("counts anew with %s in the same object", (_, change) => {
      const { at } = setUp();
      const history = { ...beaten };
      for (const age of [40_000, 40_001]) expect(at(history, age)).toBe("suspect");
      Object.assign(history, change);
      for (const age of [50_000, 50_001]) expect(at(history, age)).toBe("suspect");
      expect(at(history, 50_002)).toBe("stale");
    });

    it("counts anew when a clock that had jumped ahead came back, and goes on counting where it is then", () => {
      const { at } = setUp();
      const history = { ...beaten };
      expect([at(history, 900_000), at(history, 900_001)]).toEqual(["suspect", "suspect"]);
      expect(at(history, 5_000)).toBe("fresh");
      expect([at(history, 30_001), at(history, 30_002), at(history, 30_003)]).toEqual(["suspect", "suspect", "stale"]);
      const other = { ...beaten };
      expect([at(other, 900_000), at(other, 40_000), at(other, 40_001)]).toEqual(["suspect", "suspect", "suspect"]);
      expect(at(other, 40_002)).toBe("stale");
    });

    it("confirms the silence of one that has never beaten, too", () => {
      const { at } = setUp();
      const history = { ...never };
      expect([at(history, 60_001), at(history, 60_002), at(history, 60_003)]).toEqual(["suspect", "suspect", "stale"]);
    });
  });

  it("is frozen, and so are its answers", () => {
    const policy = fixedThreshold({ staleAfterMs: 30_000, confirmations: 2 });
    expect(Object.isFrozen(policy)).toBe(true);
    for (const age of [0, 40_000, 40_001]) expect(Object.isFrozen(policy.assess(beaten, LAST_AT + age))).toBe(true);
  });

  const wrong = [-1, 0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "5s", null].flatMap((value) =>
    ["staleAfterMs", "startupGraceMs", "confirmations"].map((name): [string, unknown] => [name, value]),
  );
  it.each([...wrong, ["staleAfterMs", undefined], ["graceMs", 5]] as [string, unknown][])(
    "refuses %s: %s by its name",
    (name, value) => {
      expect(() => fixedThreshold({ staleAfterMs: 30_000, [name]: value } as never)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
      );
    },
  );
});

describe("acceptAssessment", () => {
  it("takes what the contract allows, and nothing more of it", () => {
    for (const verdict of ["fresh", "suspect", "stale"]) {
      expect(acceptAssessment({ verdict })).toEqual({ verdict });
      expect(acceptAssessment({ verdict, nextCheckAt: undefined })).toEqual({ verdict });
      expect(acceptAssessment({ verdict, nextCheckAt: 5, phi: 3 })).toEqual({ verdict, nextCheckAt: 5 });
    }
    expect(Object.isFrozen(acceptAssessment({ verdict: "fresh" }))).toBe(true);
  });

  it.each([
    [undefined, "an object"],
    [null, "an object"],
    ["stale", "an object"],
    [true, "an object"],
    [{}, "verdict"],
    [{ verdict: "dead" }, "verdict"],
    [{ verdict: ["stale"] }, "verdict"],
    [{ verdict: "fresh", nextCheckAt: "5s" }, "nextCheckAt"],
    [{ verdict: "fresh", nextCheckAt: Number.NaN }, "nextCheckAt"],
    [{ verdict: "fresh", nextCheckAt: Number.POSITIVE_INFINITY }, "nextCheckAt"],
    [{ verdict: "fresh", nextCheckAt: null }, "nextCheckAt"],
    [Promise.resolve({ verdict: "fresh" }), "promise"],
  ])("refuses %s and says what is wrong", (answer, what) => {
    expect(() => acceptAssessment(answer)).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTIONS",
        message: expect.stringMatching(new RegExp(`staleness\\.assess.*${what}`)),
      }),
    );
  });

  it("lets no rejection of an asynchronous answer end the process", async () => {
    const unheard: unknown[] = [];
    const listener = (reason: unknown) => unheard.push(reason);
    process.on("unhandledRejection", listener);
    try {
      expect(() => acceptAssessment(Promise.reject(new Error("unheard")))).toThrow("promise");
      await new Promise((resolve) => setImmediate(resolve));
      expect(unheard).toEqual([]);
    } finally {
      process.off("unhandledRejection", listener);
    }
  });
});
