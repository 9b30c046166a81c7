import { describe, expect, it } from "vitest";
import { waitForSettlement } from "../../src/idempotency/waiting.ts";
import { claimAsDead, deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("a waiter that leaves", () => {
  it("after maxWaitMs has WAIT_TIMEOUT, and nothing changes in the store", async () => {
    const { once, clock, record, log, eventsOf } = setUp();
    const gate = deferred<string>();
    const charge = once(() => gate.promise, { inFlight: "wait", maxWaitMs: 1_000, leaseMs: 30_000 });
    const owner = watch(charge(undefined));
    await clock.advance(0);
    const before = await record();
    log.clear();
    const waiter = watch(charge(undefined));
    await clock.advance(999);
    expect(waiter.state).toBe("pending");
    await clock.advance(1);
    expect(waiter.error).toMatchObject({ code: "WAIT_TIMEOUT", retryable: true });
    expect(new Set(log.operations)).toEqual(new Set(["executions.claim", "executions.get"]));
    expect(await record()).toMatchObject({ token: before?.token, attempt: 1, status: "running" });
    expect(eventsOf("waited")).toMatchObject([{ outcome: "timeout", durationMs: 1_000 }]);
    gate.resolve("done");
    await clock.advance(0);
    expect(owner.value).toBe("done");
  });

  it("by its signal has the signal's reason at once, and the others wait on", async () => {
    const { once, clock, eventsOf } = setUp();
    const gate = deferred<string>();
    const charge = once(() => gate.promise, { inFlight: "wait" });
    const controller = new AbortController();
    const owner = watch(charge(undefined));
    await clock.advance(0);
    const leaving = watch(charge(undefined, { signal: controller.signal }));
    const staying = watch(charge(undefined));
    await clock.advance(100);
    const reason = { why: "the client hung up" };
    controller.abort(reason);
    await clock.advance(0);
    expect(leaving.error).toBe(reason);
    expect(eventsOf("waited")).toMatchObject([{ outcome: "aborted" }]);
    gate.resolve("done");
    await clock.advance(0);
    expect([owner.value, staying.value]).toEqual(["done", "done"]);
  });

  it("has waited maxWaitMs in all, however many owners gave up meanwhile", async () => {
    const { once, rival, clock } = setUp();
    const owners = Array.from({ length: 6 }, () => deferred<string>());
    let next = 0;
    const own = rival(() => (owners[next++] as (typeof owners)[0]).promise);
    let current = watch(own(undefined));
    await clock.advance(0);
    const waiter = watch(once(() => "mine", { inFlight: "wait", maxWaitMs: 1_000 })(undefined));
    for (let turn = 0; turn < 5; turn += 1) {
      await clock.advance(300);
      owners[turn]?.reject(new Error("declined"));
      // The next owner is quicker than the waiter.
      await Promise.resolve();
      current = watch(own(undefined).catch(() => own(undefined)));
      await clock.advance(0);
    }
    expect(waiter.state).not.toBe("pending");
    owners[5]?.resolve("done");
    owners[4]?.resolve("done");
    await clock.advance(2_000);
    expect(current.state).not.toBe("pending");
  });
});

describe("the bound on waiters", () => {
  it("is TOO_MANY_WAITERS for one more, on whatever record of the store, and frees its places", async () => {
    const { once, clock, record, eventsOf } = setUp();
    const gate = deferred<string>();
    const charge = once(() => gate.promise, { inFlight: "wait", maxWaiters: 3, fingerprint: false });
    const owners = [watch(charge(undefined, { key: "a" })), watch(charge(undefined, { key: "b" }))];
    await clock.advance(0);
    const waiters = ["a", "a", "b"].map((key) => watch(charge(undefined, { key })));
    await clock.advance(0);
    expect(await thrownBy(charge(undefined, { key: "b" }))).toMatchObject({
      code: "TOO_MANY_WAITERS",
      retryable: true,
    });
    expect(eventsOf("waited")).toMatchObject([{ outcome: "failed" }]);
    gate.resolve("done");
    await clock.advance(100);
    expect([...owners, ...waiters].map(({ value }) => value)).toEqual(Array.from({ length: 5 }, () => "done"));
    expect(await record()).toMatchObject({ status: "completed" });
    const later = deferred<string>();
    const again = once(() => later.promise, { inFlight: "wait", maxWaiters: 3, operation: "refund" });
    const calls = Array.from({ length: 4 }, () => watch(again(undefined)));
    await clock.advance(0);
    later.resolve("done again");
    await clock.advance(100);
    expect(calls.map(({ value }) => value)).toEqual(Array.from({ length: 4 }, () => "done again"));
  });

  it("holds 10,000 waiters of one key, and gives them one outcome", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(
      async () => {
        await clock.sleep(1_000);
        return ++runs;
      },
      { inFlight: "wait", maxWaiters: 10_000 },
    );
    const calls = Array.from({ length: 10_000 }, () => charge(undefined));
    await clock.advance(1_500);
    expect(new Set(await Promise.all(calls))).toEqual(new Set([1]));
  });
});

describe("a store that fails while somebody waits", () => {
  it("is waited out, as long as the waiter has time", async () => {
    let down = false;
    const { once, rival, clock } = setUp({
      decide: ({ operation }) => (down && operation === "executions.get" ? "lostRequest" : undefined),
    });
    const gate = deferred<string>();
    void rival(() => gate.promise)(undefined);
    await clock.advance(0);
    const waiter = watch(once(() => "never", { inFlight: "wait", maxWaitMs: 60_000 })(undefined));
    await clock.advance(100);
    down = true;
    await clock.advance(12_000);
    gate.resolve("the owner's");
    await clock.advance(100);
    down = false;
    await clock.advance(1_000);
    expect(waiter.value).toBe("the owner's");
  });

  it("gives a waiter's turn back when its claim fails, so that another gets it", async () => {
    const { store, clock, inner } = setUp();
    const id = await claimAsDead(inner, 1_000);
    const request = { store, id, clock, random: { bytes: () => new Uint8Array(16), float: () => 0.5 } };
    const waiting = { ...request, storeTimeoutMs: 1_000, timeoutMs: 10_000 };
    const first = watch(waitForSettlement(waiting));
    const second = watch(waitForSettlement(waiting));
    await clock.advance(1_500);
    expect([first.state, second.state]).toEqual(["fulfilled", "pending"]);
    if (first.value?.kind === "turn") first.value.done();
    await clock.advance(0);
    expect(second.value?.kind).toBe("turn");
    if (second.value?.kind === "turn") second.value.done();
  });
});
