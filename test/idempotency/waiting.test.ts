import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it } from "vitest";
import { recordId } from "../../src/idempotency/key.ts";
import { waitForSettlement } from "../../src/idempotency/waiting.ts";
import { CALL, deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe('inFlight: "wait"', () => {
  it("gives 100 waiters the owner's outcome after one run", async () => {
    const { once, clock, eventsOf } = setUp();
    let runs = 0;
    const charge = once(
      async () => {
        await clock.sleep(2_000);
        return { run: ++runs };
      },
      { inFlight: "wait" },
    );
    const calls = Array.from({ length: 100 }, () => watch(charge.run(undefined)));
    await clock.advance(2_000);
    expect(calls.every(({ state }) => state === "fulfilled")).toBe(true);
    expect(calls.filter(({ value }) => value?.replayed === false)).toHaveLength(1);
    for (const { value } of calls) expect(value).toMatchObject({ value: { run: 1 }, attempt: 1 });
    expect(eventsOf("waited")).toHaveLength(99);
    expect(eventsOf("waited")[0]).toMatchObject({ outcome: "settled", durationMs: 2_000 });
  });

  it("shares one watcher among the waiters of a record: 100 cost no more looks than 1", async () => {
    const looks = async (waiters: number) => {
      const { once, clock, log } = setUp({}, () => ({ watch: () => () => {} }));
      const gate = deferred();
      const charge = once(() => gate.promise, { inFlight: "wait", leaseMs: 60_000 });
      const calls = Array.from({ length: waiters + 1 }, () => watch(charge(undefined)));
      await clock.advance(5_000);
      gate.resolve();
      await clock.advance(1_000);
      expect(calls.every(({ state }) => state === "fulfilled")).toBe(true);
      return log.count("executions.get");
    };
    // The jitter differs from run to run, and nothing else.
    expect(await looks(100)).toBeLessThan((await looks(1)) * 1.5);
  });

  it("looks from every 20 ms to every 500 ms where the store can't push", async () => {
    const { once, clock, log } = setUp({}, () => ({ watch: () => () => {} }));
    const gate = deferred();
    const charge = once(() => gate.promise, { inFlight: "wait", maxWaitMs: 60_000, leaseMs: 120_000 });
    const calls = [watch(charge(undefined)), watch(charge(undefined))];
    await clock.advance(20);
    expect(log.count("executions.get")).toBe(1);
    await clock.advance(2_000);
    log.clear();
    await clock.advance(30_000);
    expect(log.count("executions.get")).toBeGreaterThanOrEqual(60);
    expect(log.count("executions.get")).toBeLessThanOrEqual(120);
    gate.resolve();
    await clock.advance(500);
    expect(calls.every(({ state }) => state === "fulfilled")).toBe(true);
  });

  it("is woken at once where the store can push", async () => {
    const { once, clock } = setUp();
    const gate = deferred<string>();
    const charge = once(() => gate.promise, { inFlight: "wait" });
    const calls = [watch(charge(undefined)), watch(charge(undefined))];
    await clock.advance(3_000);
    gate.resolve("done");
    await clock.advance(0);
    expect(calls.map(({ value }) => value)).toEqual(["done", "done"]);
  });

  it("waits for the owner of another process, too", async () => {
    const { once, rival, clock } = setUp();
    const gate = deferred<string>();
    const owner = watch(rival(() => gate.promise)(undefined));
    await clock.advance(0);
    const waiter = watch(once(() => "never", { inFlight: "wait" })(undefined));
    await clock.advance(1_000);
    gate.resolve("the owner's");
    await clock.advance(500);
    expect([owner.value, waiter.value]).toEqual(["the owner's", "the owner's"]);
  });

  it("throws the owner's stored error to every waiter", async () => {
    const { once, clock } = setUp();
    const gate = deferred<string>();
    const charge = once(() => gate.promise, { inFlight: "wait", onError: "store" });
    const calls = Array.from({ length: 5 }, () => watch(charge(undefined)));
    await clock.advance(0);
    gate.reject(new RangeError("declined"));
    await clock.advance(500);
    for (const { error } of calls) expect(error).toMatchObject({ name: "RangeError", message: "declined" });
  });

  it("keeps each waiter in its own async context", async () => {
    const { once, clock } = setUp();
    const context = new AsyncLocalStorage<number>();
    const charge = once(() => clock.sleep(1_000), { inFlight: "wait" });
    const seen = Array.from({ length: 20 }, (_, caller) =>
      context.run(caller, async () => {
        await charge(undefined);
        return context.getStore();
      }),
    );
    await clock.advance(2_000);
    expect(await Promise.all(seen)).toEqual(Array.from({ length: 20 }, (_, caller) => caller));
  });

  it("runs the function that takes over in the context of its own caller", async () => {
    const { once, clock } = setUp();
    const context = new AsyncLocalStorage<string>();
    const ranIn: (string | undefined)[] = [];
    let fail = true;
    const charge = once(
      async () => {
        ranIn.push(context.getStore());
        await clock.sleep(100);
        if (!fail) return;
        fail = false;
        throw new Error("declined");
      },
      { inFlight: "wait" },
    );
    const first = watch(context.run("first", () => charge(undefined)));
    const second = watch(context.run("second", () => charge(undefined)));
    await clock.advance(1_000);
    expect([first.state, second.state]).toEqual(["rejected", "fulfilled"]);
    expect(ranIn).toEqual(["first", "second"]);
  });
});

describe("an owner that gives up", () => {
  it("lets exactly one waiter take over, and the others have that one's outcome", async () => {
    const { once, clock } = setUp();
    let running = 0;
    let most = 0;
    let runs = 0;
    const charge = once(
      async () => {
        runs += 1;
        const run = runs;
        running += 1;
        most = Math.max(most, running);
        await clock.sleep(100);
        running -= 1;
        if (run <= 3) throw new Error(`declined ${run}`);
        return run;
      },
      { inFlight: "wait" },
    );
    const calls = Array.from({ length: 30 }, () => watch(charge(undefined)));
    await clock.advance(2_000);
    expect(calls.filter(({ state }) => state === "rejected")).toHaveLength(3);
    expect(calls.filter(({ value }) => value === 4)).toHaveLength(27);
    expect([runs, most]).toEqual([4, 1]);
  });

  it("by falling silent, is taken over by one waiter when its lease ends", async () => {
    const { once, rival, clock, inner } = setUp();
    await claimAsDead(inner, 5_000);
    let runs = 0;
    const charge = once((_input: undefined, ctx) => [++runs, ctx.attempt], { inFlight: "wait", fingerprint: false });
    const calls = Array.from({ length: 10 }, () => watch(charge(undefined)));
    await clock.advance(4_999);
    expect(calls.every(({ state }) => state === "pending")).toBe(true);
    await clock.advance(501);
    expect(calls.map(({ value }) => value)).toEqual(Array.from({ length: 10 }, () => [1, 2]));
    expect(await rival(() => "never", { fingerprint: false })(undefined)).toEqual([1, 2]);
  });

  it('by falling silent, is ABANDONED to its waiters with onAbandoned: "reject"', async () => {
    const { once, clock, store } = setUp();
    await claimAsDead(store, 5_000);
    const charge = once(() => "never", { inFlight: "wait", onAbandoned: "reject", fingerprint: false });
    const calls = Array.from({ length: 3 }, () => watch(charge(undefined)));
    await clock.advance(6_000);
    for (const { error } of calls) expect(error).toMatchObject({ code: "ABANDONED" });
  });
});

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
    const { once, clock, record } = setUp();
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

/** Claims the usual record as a process that is gone: nobody renews it. */
async function claimAsDead(store: ReturnType<typeof setUp>["inner"], leaseMs: number): Promise<string> {
  const id = recordId("charge", "", "order-17");
  const request = { id, operation: "charge", scope: "", nonce: "dead", leaseMs, retentionMs: 60_000 };
  await store.executions.claim({ ...request, onAbandoned: "takeover" }, CALL);
  return id;
}
