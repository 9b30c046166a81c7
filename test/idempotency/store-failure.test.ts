import { EvenkeelError } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { setUp, thrownBy, watch } from "./set-up.ts";

describe("a store that hangs", () => {
  it.each([50, 5_000, 120_000])(
    "is STORE_UNAVAILABLE after storeTimeoutMs (%i), without a run",
    async (storeTimeoutMs) => {
      const { once, clock } = setUp({ decide: () => "hangBefore" });
      let runs = 0;
      const called = watch(once(() => ++runs, { storeTimeoutMs })(undefined));
      await clock.advance(storeTimeoutMs - 1);
      expect(called.state).toBe("pending");
      await clock.advance(1);
      expect(called).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE", retryable: true } });
      expect(runs).toBe(0);
    },
  );

  it("has 5 seconds where nothing is said", async () => {
    const { once, clock } = setUp({ decide: () => "hangAfter" });
    const called = watch(once(() => 1)(undefined));
    await clock.advance(4_999);
    expect(called.state).toBe("pending");
    await clock.advance(1);
    expect(called).toMatchObject({ error: { code: "STORE_UNAVAILABLE" } });
  });

  it("is not asked for ever by a caller who has gone", async () => {
    const { once, clock, log } = setUp({ decide: () => "hangBefore" });
    watch(once(() => 1)(undefined));
    await clock.advance(60_000);
    expect(log.total).toBeLessThanOrEqual(2);
  });
});

describe("a store that fails", () => {
  it("is asked again until storeTimeoutMs is used up, and then is STORE_UNAVAILABLE with the cause", async () => {
    const { once, clock, log } = setUp({ decide: () => "lostRequest" });
    let runs = 0;
    const called = watch(once(() => ++runs)(undefined));
    await clock.advance(4_990);
    expect(called.state).toBe("pending");
    await clock.advance(10);
    expect(called).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE" } });
    expect((called.error as Error).cause).toMatchObject({ code: "ECONNRESET" });
    expect(log.total).toBeGreaterThan(3);
    expect(log.total).toBeLessThan(50);
    expect(runs).toBe(0);
  });

  it("is got over when it comes back in time", async () => {
    const { once, clock } = setUp({ decide: ({ nth }) => (nth <= 3 ? "lostRequest" : undefined) });
    const called = watch(once(() => "done")(undefined));
    await clock.advance(1_000);
    expect(called.value).toBe("done");
  });

  it("may throw at once, instead of rejecting", async () => {
    let calls = 0;
    const { once, clock } = setUp({}, (inner) => ({
      claim: (request, call) => {
        calls += 1;
        if (calls === 1) throw new Error("at once");
        return inner.claim(request, call);
      },
    }));
    const called = watch(once(() => "done")(undefined));
    await clock.advance(1_000);
    expect(called.value).toBe("done");
  });

  it.each(["RECORD_CORRUPT", "STORE_MISCONFIGURED"] as const)(
    "passes its own %s on as it is, at once",
    async (code) => {
      const own = new EvenkeelError(code, "the store's own word");
      const { once, log } = setUp({}, () => ({ claim: () => Promise.reject(own) }));
      let runs = 0;
      expect(await thrownBy(once(() => ++runs)(undefined))).toBe(own);
      expect([runs, log.total]).toEqual([0, 1]);
    },
  );

  it("is not asked again after it said that it did nothing", async () => {
    const { once, store, log } = setUp();
    await store.close();
    expect(await thrownBy(once(() => 1)(undefined))).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(log.total).toBe(1);
  });

  it("never gives the raw error of a driver to the caller", async () => {
    const { once, clock } = setUp({}, () => ({ claim: () => Promise.reject("a text") }));
    const called = watch(once(() => 1)(undefined));
    await clock.advance(5_000);
    expect(called.error).toMatchObject({ code: "STORE_UNAVAILABLE", cause: "a text" });
  });
});

describe('onStoreError: "open"', () => {
  it("runs the function without protection, and says so", async () => {
    const { once, clock, eventsOf } = setUp({ decide: () => "lostRequest" });
    let runs = 0;
    const charge = once(
      async (_input: undefined, ctx) => {
        runs += 1;
        expect(ctx.fencingToken).toBe(0);
        expect(ctx.deriveKey("bank")).toMatch(/^[0-9a-f]{64}$/);
        expect(await ctx.step("reserve", () => "seat 12")).toBe("seat 12");
        await ctx.complete("early");
        return "open";
      },
      { onStoreError: "open" },
    );
    const called = watch(charge.run(undefined));
    await clock.advance(5_000);
    expect(called.value).toMatchObject({ value: "open", replayed: false, attempt: 1 });
    expect(eventsOf("store_error")).toMatchObject([{ ranUnprotected: true }]);
    expect(runs).toBe(1);
  });

  it("derives the same key for a downstream API as a protected run", async () => {
    const keys: string[] = [];
    let down = true;
    const { once, clock } = setUp({ decide: () => (down ? "lostRequest" : undefined) });
    const charge = once((_input: undefined, ctx) => void keys.push(ctx.deriveKey("bank")), { onStoreError: "open" });
    watch(charge(undefined));
    await clock.advance(5_000);
    down = false;
    await charge(undefined);
    expect(keys).toEqual([keys[0], keys[0]]);
  });

  it("runs nothing for an answer that is no failure of the store", async () => {
    const { once } = setUp();
    const charge = once((input: number) => input, { onStoreError: "open" });
    await charge(5);
    expect(await thrownBy(charge(6))).toMatchObject({ code: "FINGERPRINT_MISMATCH" });
    const corrupt = setUp({}, () => ({ claim: () => Promise.reject(new EvenkeelError("RECORD_CORRUPT", "broken")) }));
    const broken = corrupt.once(() => 1, { onStoreError: "open" });
    expect(await thrownBy(broken(undefined))).toMatchObject({ code: "RECORD_CORRUPT" });
  });
});

describe("an outcome that can't be made durable", () => {
  it("reaches its caller all the same, keeps the claim and is told", async () => {
    const partition = new Partition();
    const { once, rival, clock, eventsOf, types } = setUp({ partition });
    const charge = once(() => {
      partition.cut("requests");
      return "charged";
    });
    const called = watch(charge.run(undefined));
    await clock.advance(5_000);
    expect(called).toMatchObject({ state: "fulfilled", value: { value: "charged", replayed: false, attempt: 1 } });
    expect(eventsOf("complete_failed")).toHaveLength(1);
    expect(types()).not.toContain("completed");
    expect(types()).not.toContain("released");
    expect(await thrownBy(rival(() => "again")(undefined))).toMatchObject({ code: "IN_PROGRESS" });
  });

  it('is STORE_UNAVAILABLE with onCompleteFailure: "throw", and keeps the claim', async () => {
    const partition = new Partition();
    const { once, rival, clock } = setUp({ partition });
    const charge = once(
      () => {
        partition.cut("requests");
        return "charged";
      },
      { onCompleteFailure: "throw" },
    );
    const called = watch(charge(undefined));
    await clock.advance(5_000);
    expect(called).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE" } });
    expect(await thrownBy(rival(() => "again")(undefined))).toMatchObject({ code: "IN_PROGRESS" });
  });

  it("is tried again inside the lease, and is durable when the store comes back", async () => {
    const { once, rival, clock } = setUp({
      decide: ({ operation, nth }) => (operation === "executions.complete" && nth <= 4 ? "lostRequest" : undefined),
    });
    const called = watch(once(() => "charged")(undefined));
    await clock.advance(5_000);
    expect(called.value).toBe("charged");
    expect(await rival(() => "again")(undefined)).toBe("charged");
  });

  it("is durable before the caller has it", async () => {
    const { once, clock } = setUp({ faults: [{ on: "executions.complete", fault: { delayMs: 400 } }] });
    const called = watch(once(() => "charged")(undefined));
    await clock.advance(399);
    expect(called.state).toBe("pending");
    await clock.advance(1);
    expect(called.value).toBe("charged");
  });

  it("does not hold its caller longer than the lease lasts", async () => {
    const partition = new Partition();
    const { once, clock } = setUp({ partition });
    const charge = once(
      () => {
        partition.cut("both");
        return "charged";
      },
      { leaseMs: 1_000 },
    );
    const called = watch(charge(undefined));
    await clock.advance(1_000);
    expect(called.value).toBe("charged");
  });

  it("lets the function's own error through when the release can't be made", async () => {
    const partition = new Partition();
    const { once, clock, eventsOf } = setUp({ partition });
    const declined = new Error("declined");
    const charge = once(() => {
      partition.cut("both");
      throw declined;
    });
    const called = watch(charge(undefined));
    await clock.advance(5_000);
    expect(called.error).toBe(declined);
    expect(eventsOf("store_error")).toHaveLength(1);
  });
});
