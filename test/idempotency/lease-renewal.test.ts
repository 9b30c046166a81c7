import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("a lease that is held", () => {
  it("lets a function of 1 s under a lease of 200 ms run once while duplicates arrive", async () => {
    const { once, rival, clock, eventsOf } = setUp();
    let runs = 0;
    const work = async () => {
      runs += 1;
      await clock.sleep(1_000);
      return runs;
    };
    const called = watch(once(work, { leaseMs: 200 })(undefined));
    await clock.advance(0);
    for (let time = 0; time < 99; time += 1) {
      await clock.advance(10);
      expect(await thrownBy(rival(work, { leaseMs: 200 })(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    }
    await clock.advance(10);
    expect(called).toMatchObject({ state: "fulfilled", value: 1 });
    expect(eventsOf("lease_lost")).toEqual([]);
    expect(runs).toBe(1);
  });

  it("is renewed every third of it, and no more once the function has ended", async () => {
    const { once, clock, log } = setUp();
    const sentAt: number[] = [];
    const gate = deferred();
    const called = once(() => gate.promise, { leaseMs: 3_000 })(undefined);
    for (let time = 0; time < 100; time += 1) {
      const before = log.count("executions.renew");
      await clock.advance(100);
      if (log.count("executions.renew") > before) sentAt.push(clock.monotonic());
    }
    expect(sentAt).toEqual([1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000]);
    gate.resolve();
    await called;
    await clock.advance(60_000);
    expect(log.count("executions.renew")).toBe(10);
  });

  it("is renewed by one call at a time, however slow it is", async () => {
    let underWay = 0;
    let most = 0;
    const { once, clock } = setUp({}, (inner) => ({
      async renew(request, call) {
        underWay += 1;
        most = Math.max(most, underWay);
        await clock.sleep(700);
        underWay -= 1;
        return inner.renew(request, call);
      },
    }));
    const called = watch(once(() => clock.sleep(20_000), { leaseMs: 3_000, storeTimeoutMs: 3_000 })(undefined));
    await clock.advance(30_000);
    expect(called.state).toBe("fulfilled");
    expect(most).toBe(1);
  });

  it("is counted from before the claim was sent, so that a slow answer shortens it", async () => {
    const { once, clock, log } = setUp({
      faults: [{ on: "executions.claim", fault: { delayMs: 1_500, of: "reply" } }],
    });
    const gate = deferred();
    const called = watch(once(() => gate.promise, { leaseMs: 6_000 })(undefined));
    await clock.advance(1_999);
    expect(log.count("executions.renew")).toBe(0);
    await clock.advance(1);
    expect(log.count("executions.renew")).toBe(1);
    gate.resolve();
    await clock.advance(0);
    expect(called.state).toBe("fulfilled");
  });

  it("may be longer than Node's longest timer", async () => {
    const { once, rival, clock } = setUp();
    const leaseMs = 2 ** 33;
    const gate = deferred<string>();
    const called = watch(once(() => gate.promise, { leaseMs, retentionMs: 2 ** 40 })(undefined));
    await clock.advance(2 ** 32);
    expect(await thrownBy(rival(() => "stolen")(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    gate.resolve("done");
    await clock.advance(0);
    expect(called.value).toBe("done");
  });

  it("is one millisecond long at the shortest", async () => {
    const { once } = setUp();
    expect(await once(() => "done", { leaseMs: 1 })(undefined)).toBe("done");
  });
});

describe("a renewal that fails", () => {
  it("is tried again until our own deadline, which is earlier than the store's", async () => {
    const partition = new Partition();
    const { once, clock, eventsOf, log, record } = setUp({ partition });
    let reason: unknown;
    const gate = deferred<string>();
    const called = watch(
      once(
        (_input: undefined, ctx) => {
          ctx.signal.addEventListener("abort", () => {
            reason = ctx.signal.reason;
          });
          return gate.promise;
        },
        { leaseMs: 3_000, storeTimeoutMs: 400 },
      )(undefined),
    );
    await clock.advance(0);
    partition.cut("both");
    await clock.advance(2_699);
    expect(reason).toBeUndefined();
    await clock.advance(1);
    expect(reason).toMatchObject({ code: "LEASE_LOST" });
    expect(await record()).toMatchObject({ status: "running" });
    expect(eventsOf("lease_lost")).toMatchObject([{ reason: "deadline", attempt: 1 }]);
    expect(log.count("executions.renew")).toBeGreaterThan(2);
    partition.heal();
    gate.resolve("late");
    await clock.advance(0);
    expect(called.value).toBe("late");
  });

  it("aborts the signal when the store says that the lease is lost, and stops renewing", async () => {
    const { once, clock, eventsOf, log } = setUp({}, () => ({ renew: async () => ({ status: "lost" }) }));
    let aborted: unknown;
    const gate = deferred();
    const called = watch(
      once((_input: undefined, ctx) => {
        ctx.signal.addEventListener("abort", () => {
          aborted = ctx.signal.reason;
        });
        return gate.promise;
      })(undefined),
    );
    await clock.advance(10_000);
    expect(aborted).toMatchObject({ code: "LEASE_LOST" });
    expect(eventsOf("lease_lost")).toMatchObject([{ reason: "lost" }]);
    await clock.advance(100_000);
    expect(log.count("executions.renew")).toBe(1);
    gate.resolve();
    await clock.advance(0);
    expect(called.state).toBe("fulfilled");
    expect(eventsOf("lease_lost")).toHaveLength(1);
  });

  it("shows an aborted signal to a function that looks at it only afterwards", async () => {
    const { once, clock } = setUp({}, () => ({ renew: async () => ({ status: "missing" }) }));
    const gate = deferred();
    let aborted: boolean | undefined;
    const called = watch(
      once(async (_input: undefined, ctx) => {
        await gate.promise;
        aborted = ctx.signal.aborted;
      })(undefined),
    );
    await clock.advance(10_000);
    gate.resolve();
    await clock.advance(0);
    expect(aborted).toBe(true);
    expect(called.state).toBe("fulfilled");
  });
});

describe("the holder's view of time", () => {
  it("takes a wall clock that was set forward for a suspension, and asks the store", async () => {
    const partition = new Partition();
    const { once, clock, eventsOf } = setUp({ partition });
    const gate = deferred<string>();
    const called = watch(once(() => gate.promise, { leaseMs: 3_000 })(undefined));
    await clock.advance(0);
    partition.cut("both");
    // The machine slept for an hour: monotonic time stood still, wall time did not.
    await clock.set(clock.now() + 3_600_000);
    await clock.advance(1_000);
    expect(eventsOf("lease_lost")).toMatchObject([{ reason: "deadline" }]);
    partition.heal();
    gate.resolve("late");
    await clock.advance(0);
    expect(called.state).toBe("fulfilled");
  });

  it("does not take a wall clock that was set back for more lease", async () => {
    const partition = new Partition();
    const { once, clock, eventsOf } = setUp({ partition });
    const gate = deferred<string>();
    const called = watch(once(() => gate.promise, { leaseMs: 3_000 })(undefined));
    await clock.advance(0);
    partition.cut("both");
    await clock.set(clock.now() - 3_600_000);
    await clock.advance(2_700);
    expect(eventsOf("lease_lost")).toHaveLength(1);
    partition.heal();
    gate.resolve("late");
    await clock.advance(10_000);
    expect(called.state).toBe("fulfilled");
  });
});
