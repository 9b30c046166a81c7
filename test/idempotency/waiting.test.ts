import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it } from "vitest";
import { claimAsDead, deferred, setUp, watch } from "./set-up.ts";

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
