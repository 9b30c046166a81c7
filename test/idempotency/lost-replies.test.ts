import { type Fault, type StoreOperationName, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

const FAULTS: Fault[] = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"];
const OPERATIONS: StoreOperationName[] = ["executions.claim", "executions.complete"];

const cases = OPERATIONS.flatMap((on) => FAULTS.map((fault) => ({ on, fault })));

describe("one call that goes wrong", () => {
  it.each(cases)("$fault of $on: the function runs once and its caller gets the value", async ({ on, fault }) => {
    const { once, clock, record } = setUp({ faults: [{ on, nth: 1, fault }] });
    let runs = 0;
    const charge = once(() => ({ run: ++runs }));
    const called = watch(charge.run(undefined));
    await clock.advance(10_000);
    expect(called).toMatchObject({ state: "fulfilled", value: { value: { run: 1 }, replayed: false, attempt: 1 } });
    expect(await charge(undefined)).toEqual({ run: 1 });
    expect(await record()).toMatchObject({ status: "completed", attempt: 1 });
    expect(runs).toBe(1);
  });

  it.each(FAULTS)("%s of a renewal: the lease is kept", async (fault) => {
    const { once, rival, clock, eventsOf } = setUp({ faults: [{ on: "executions.renew", nth: 1, fault }] });
    const gate = deferred<string>();
    const called = watch(once(() => gate.promise, { leaseMs: 3_000 })(undefined));
    await clock.advance(0);
    for (let time = 0; time < 20; time += 1) {
      await clock.advance(500);
      expect(await thrownBy(rival(() => "stolen")(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    }
    gate.resolve("mine");
    await clock.advance(10_000);
    expect(called).toMatchObject({ state: "fulfilled", value: "mine" });
    expect(eventsOf("lease_lost")).toEqual([]);
  });

  it.each(FAULTS)("%s of a release: the error reaches its caller and the key is free", async (fault) => {
    const { once, clock, record } = setUp({ faults: [{ on: "executions.release", nth: 1, fault }] });
    const declined = new Error("declined");
    const called = watch(once(() => Promise.reject(declined))(undefined));
    await clock.advance(10_000);
    expect(called.error).toBe(declined);
    expect(await record()).toBeUndefined();
  });

  it.each(FAULTS)("%s of a step's record: the step runs once and is remembered", async (fault) => {
    const { once, clock } = setUp({ faults: [{ on: "executions.recordStep", nth: 1, fault }] });
    let steps = 0;
    const called = watch(once((_input: undefined, ctx) => ctx.step("reserve", () => ++steps))(undefined));
    await clock.advance(10_000);
    expect(called).toMatchObject({ state: "fulfilled", value: 1 });
    expect(steps).toBe(1);
  });

  it.each(FAULTS)("%s of a waiter's look: the waiter gets the outcome", async (fault) => {
    const { once, rival, clock } = setUp({ faults: [{ on: "executions.get", nth: 1, fault }] });
    const gate = deferred<string>();
    void rival(() => gate.promise)(undefined);
    await clock.advance(0);
    const waiter = watch(once(() => "never", { inFlight: "wait", maxWaitMs: 20_000 })(undefined));
    await clock.advance(100);
    gate.resolve("the owner's");
    await clock.advance(10_000);
    expect(waiter).toMatchObject({ state: "fulfilled", value: "the owner's" });
  });
});

describe("a lost reply on a claim", () => {
  it("never makes a caller answer IN_PROGRESS to itself, however many replies are lost", async () => {
    const { once, clock, log } = setUp({
      decide: ({ operation, nth }) => (operation === "executions.claim" && nth <= 5 ? "lostReply" : undefined),
    });
    const called = watch(once(() => "done")(undefined));
    await clock.advance(5_000);
    expect(called).toMatchObject({ state: "fulfilled", value: "done" });
    const nonces = log.calls.map(({ request }) => (request as { nonce: string }).nonce);
    expect(new Set(nonces).size).toBe(1);
  });

  it("lets one of many callers run when each of them loses its first reply", async () => {
    let runs = 0;
    const lost = new Set<string>();
    const { once, clock } = setUp({
      decide: ({ operation, request }) => {
        const { nonce } = request as { nonce: string };
        if (operation !== "executions.claim" || lost.has(nonce)) return undefined;
        lost.add(nonce);
        return "lostReply";
      },
    });
    const charge = once(() => ++runs, { inFlight: "wait" });
    const calls = Array.from({ length: 20 }, () => watch(charge(undefined)));
    await clock.advance(10_000);
    expect(calls.map(({ value }) => value)).toEqual(Array.from({ length: 20 }, () => 1));
    expect(runs).toBe(1);
  });
});

describe("an answer that comes after its caller has gone", () => {
  it("gives the key back, so that it is not blocked for a lease", async () => {
    const { once, rival, clock } = setUp({
      faults: [{ on: "executions.claim", fault: { delayMs: 8_000, of: "reply" } }],
    });
    let runs = 0;
    const called = watch(once(() => ++runs)(undefined));
    await clock.advance(5_000);
    expect(called).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE" } });
    await clock.advance(10_000);
    expect(await rival(() => "free")(undefined)).toBe("free");
    expect(runs).toBe(0);
  });
});

describe("a network that fails at random", () => {
  it.each(Array.from({ length: 25 }, (_, seed) => seed))("keeps one outcome a key (seed %i)", async (seed) => {
    const { once, clock, inner } = setUp({
      random: seededRandom(seed),
      rates: { lostRequest: 0.1, lostReply: 0.1, hangBefore: 0.03, hangAfter: 0.03, duplicate: 0.05, delay: 0.1 },
      maxDelayMs: 2_000,
    });
    const effects = new Map<string, number>();
    const charge = once(
      async (key: string, ctx) => {
        await clock.sleep(50);
        effects.set(key, (effects.get(key) ?? 0) + 1);
        return `${key} by ${ctx.attempt}`;
      },
      { key: (key) => key, inFlight: "wait", maxWaitMs: 60_000 },
    );
    const keys = ["a", "b", "c", "d"];
    const calls = keys.flatMap((key) => Array.from({ length: 5 }, () => ({ key, call: watch(charge(key)) })));
    await clock.advance(200_000);
    for (const key of keys) {
      const ofKey = calls.filter((made) => made.key === key).map(({ call }) => call);
      expect(ofKey.every(({ state }) => state !== "pending")).toBe(true);
      const values = new Set(ofKey.filter(({ state }) => state === "fulfilled").map(({ value }) => value));
      expect(values.size).toBeLessThanOrEqual(1);
      // No lease was lost, as nobody was slower than one: nothing may have run twice.
      expect(effects.get(key) ?? 0).toBeLessThanOrEqual(1);
    }
    await inner.close();
  });
});
