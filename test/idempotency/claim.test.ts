import { describe, expect, it } from "vitest";
import type { ClaimResult } from "../../src/store.ts";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("withIdempotency", () => {
  it("runs the function once and gives every later caller the same outcome", async () => {
    const { once } = setUp();
    let runs = 0;
    const charge = once((input: { amount: number }) => ({ charged: input.amount, run: ++runs }));
    for (let time = 0; time < 5; time += 1) expect(await charge({ amount: 5 })).toEqual({ charged: 5, run: 1 });
    expect(runs).toBe(1);
  });

  it("tells by run() where the value comes from", async () => {
    const { once, clock } = setUp();
    const charge = once(async () => {
      await clock.sleep(100);
      return "done";
    });
    const first = watch(charge.run(undefined));
    await clock.advance(100);
    const completedAt = clock.now();
    expect(first.value).toEqual({ value: "done", replayed: false, attempt: 1, completedAt });
    await clock.advance(5_000);
    expect(await charge.run(undefined)).toEqual({ value: "done", replayed: true, attempt: 1, completedAt });
  });

  it("runs one of 100 callers at once and turns the others away, with the lease that remains", async () => {
    const { once, clock } = setUp();
    const gate = deferred<string>();
    let runs = 0;
    const charge = once(() => {
      runs += 1;
      return gate.promise;
    });
    const calls = Array.from({ length: 100 }, () => watch(charge(undefined)));
    await clock.advance(0);
    const rejected = calls.filter(({ state }) => state === "rejected");
    expect(rejected).toHaveLength(99);
    for (const { error } of rejected) {
      expect(error).toMatchObject({ code: "IN_PROGRESS", retryable: true, retryAfterMs: 30_000 });
    }
    await clock.advance(4_000);
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "IN_PROGRESS", retryAfterMs: 26_000 });
    gate.resolve("done");
    await clock.advance(0);
    expect(calls.filter(({ value }) => value === "done")).toHaveLength(1);
    expect(runs).toBe(1);
  });

  it("runs different keys beside each other", async () => {
    const { once, clock } = setUp();
    let running = 0;
    let most = 0;
    const charge = once(async () => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(10);
      running -= 1;
    });
    const calls = Array.from({ length: 50 }, (_, index) => charge(undefined, { key: `order-${index}` }));
    await clock.advance(10);
    await Promise.all(calls);
    expect(most).toBe(50);
  });

  it("passes the input by identity and the context of the record", async () => {
    const { once } = setUp();
    const input = { amount: 5 };
    await once((given: { amount: number }, ctx) => {
      expect(given).toBe(input);
      expect(ctx).toMatchObject({ operation: "charge", scope: "tenant", key: "order-17", attempt: 1 });
      expect(ctx.fencingToken).toBeGreaterThan(0);
      expect(ctx.signal.aborted).toBe(false);
    })(input, { scope: "tenant" });
  });

  it("takes a function that answers at once, also one that throws at once", async () => {
    const { once } = setUp();
    expect(await once(() => 7)(undefined)).toBe(7);
    const thrown = new Error("at once");
    const throwing = once(
      (): number => {
        throw thrown;
      },
      { operation: "refund" },
    );
    expect(await thrownBy(throwing(undefined))).toBe(thrown);
  });
});

describe("the budget of store calls", () => {
  it("is a claim and a completion for a first call, and a claim for a replay", async () => {
    const { once, log } = setUp();
    const charge = once(() => "done");
    await charge(undefined);
    expect(log.operations).toEqual(["executions.claim", "executions.complete"]);
    log.clear();
    await charge(undefined);
    expect(log.operations).toEqual(["executions.claim"]);
  });

  it("is a claim for who is turned away, and a claim and a release for an error", async () => {
    const { once, log, clock } = setUp();
    const gate = deferred();
    const charge = once(() => gate.promise);
    const first = charge(undefined);
    await clock.advance(0);
    log.clear();
    await thrownBy(charge(undefined));
    expect(log.operations).toEqual(["executions.claim"]);
    log.clear();
    gate.reject(new Error("declined"));
    await thrownBy(first);
    expect(log.operations).toEqual(["executions.release"]);
  });

  it("is nothing for a call that is invalid", async () => {
    const { once, log } = setUp();
    const charge = once((_input: unknown) => 1);
    await thrownBy(charge(undefined, { key: "" }));
    await thrownBy(charge(() => {}));
    await thrownBy(charge(undefined, { signal: AbortSignal.abort() }));
    expect(log.total).toBe(0);
  });
});

describe("an answer that the protocol does not know", () => {
  it("is asked again a bounded number of times, and then IN_PROGRESS, without a run", async () => {
    const { once, log } = setUp({}, () => ({ claim: async () => ({ status: "vanished" }) as unknown as ClaimResult }));
    let runs = 0;
    expect(await thrownBy(once(() => ++runs)(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    expect(runs).toBe(0);
    expect(log.total).toBeGreaterThan(1);
    expect(log.total).toBeLessThan(20);
  });

  it("is got over when it was one of a kind", async () => {
    let odd = 0;
    const { once } = setUp({}, (inner) => ({
      claim: async (request, call) => {
        odd += 1;
        return odd <= 2 ? ({ status: "vanished" } as unknown as ClaimResult) : inner.claim(request, call);
      },
    }));
    expect(await once(() => "done")(undefined)).toBe("done");
  });

  it("comes under one nonce each time", async () => {
    const { once, log } = setUp({}, () => ({ claim: async () => ({ status: "vanished" }) as unknown as ClaimResult }));
    await thrownBy(once(() => 1)(undefined));
    expect(new Set(log.calls.map(({ request }) => (request as { nonce: string }).nonce)).size).toBe(1);
    await thrownBy(once(() => 1)(undefined));
    expect(new Set(log.calls.map(({ request }) => (request as { nonce: string }).nonce)).size).toBe(2);
  });
});

describe("a claim that comes back later than its lease", () => {
  it("is asked for again under the same nonce before the function runs", async () => {
    const { once, log, clock, record } = setUp({
      faults: [{ on: "executions.claim", nth: 1, fault: { delayMs: 900, of: "reply" } }],
    });
    let runs = 0;
    const called = watch(once(() => ++runs, { leaseMs: 500 })(undefined));
    await clock.advance(899);
    expect(runs).toBe(0);
    await clock.advance(1);
    expect(called).toMatchObject({ state: "fulfilled", value: 1 });
    expect(log.count("executions.claim")).toBe(2);
    expect(await record()).toMatchObject({ status: "completed", attempt: 1 });
  });
});
