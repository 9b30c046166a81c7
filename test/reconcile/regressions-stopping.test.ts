import { RetryAfter } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred, eventsOf, settle, writesIn } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

/** Two callbacks at a time, which end when their gate opens, or when they are told to stop. */
function setUpGated() {
  const gate = deferred();
  const fleet = fakeFleet();
  const signals: AbortSignal[] = [];
  const test = setUpReconciler({
    ...fleet.callbacks,
    concurrency: 1,
    create: async (resource, ctx) => {
      signals.push(ctx.signal);
      await gate.promise;
      return fleet.callbacks.create(resource, ctx);
    },
  });
  return { ...test, fleet, gate, signals };
}

/** Whether a promise has settled. */
function watch(promise: Promise<unknown>) {
  const seen = { isSettled: false };
  const note = (): void => {
    seen.isSettled = true;
  };
  promise.then(note, note);
  return seen;
}

describe("stop() ends a pass that somebody asked for", () => {
  it("waits for what reconcile() has begun, and has it begin nothing more", async () => {
    const { reconciler, clock, fleet, gate } = setUpGated();
    await reconciler.setDesired(4);
    const reported = reconciler.reconcile();
    await settle(clock);
    const stopped = watch(reconciler.stop());
    await clock.advance(5_000);
    expect(stopped.isSettled).toBe(false);
    gate.resolve();
    await settle(clock);
    expect(stopped.isSettled).toBe(true);
    expect((await reported).actions).toHaveLength(1);
    expect(fleet.ids()).toEqual(["web-0"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("tells it after graceMs, beside a loop too", async () => {
    const { reconciler, clock, fleet, gate, signals } = setUpGated();
    await reconciler.setDesired(4);
    const reported = reconciler.reconcile();
    reported.catch(() => {});
    reconciler.start();
    await settle(clock);
    const stopped = reconciler.stop({ graceMs: 100 });
    await clock.advance(99);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    await clock.advance(1);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    // The time in which it could say what it has done.
    await clock.advance(1_000);
    await expect(reported).rejects.toMatchObject({ name: "AbortError" });
    await clock.advance(10_000);
    await stopped;
    gate.resolve();
    await settle(clock);
    expect(signals).toHaveLength(1);
    expect(fleet.ids()).toEqual(["web-0"]);
  });

  it("and one that approve() began", async () => {
    const { reconciler, clock, fleet, gate } = setUpGated();
    await reconciler.setDesired(3);
    const reported = reconciler.approve((await reconciler.plan()).hash);
    await settle(clock);
    const stopped = reconciler.stop();
    gate.resolve();
    await stopped;
    expect((await reported).actions).toHaveLength(1);
    expect(fleet.ids()).toEqual(["web-0"]);
  });

  it("and lets the next one go on once it has resolved", async () => {
    const { reconciler, clock, fleet, gate } = setUpGated();
    await reconciler.setDesired(3);
    const first = reconciler.reconcile();
    await settle(clock);
    const stopped = reconciler.stop();
    const meanwhile = reconciler.reconcile();
    gate.resolve();
    await stopped;
    await first;
    expect((await meanwhile).actions).toEqual([]);
    await reconciler.reconcile();
    expect(fleet.ids()).toHaveLength(3);
  });

  it("a start() during it waits until it is over, and so does what is asked for after that", async () => {
    const { reconciler, clock, fleet, gate, signals } = setUpGated();
    await reconciler.setDesired(2);
    const first = reconciler.reconcile();
    await settle(clock);
    const stopped = reconciler.stop();
    reconciler.start();
    const second = reconciler.reconcile();
    await clock.advance(1_000);
    expect(signals).toHaveLength(1);
    gate.resolve();
    await Promise.all([stopped, first, second]);
    await settle(clock);
    expect(fleet.ids()).toHaveLength(2);
    await reconciler.stop();
  });
});

describe("a second stop()", () => {
  it("with a shorter grace shortens the first", async () => {
    const { reconciler, clock, signals } = setUpGated();
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    const first = watch(reconciler.stop());
    await clock.advance(1_000);
    const second = reconciler.stop({ graceMs: 0 });
    await clock.advance(0);
    expect(signals[0]?.aborted).toBe(true);
    await clock.advance(5_000);
    await second;
    expect(first.isSettled).toBe(true);
  });

  it("with a longer one changes nothing", async () => {
    const { reconciler, clock, signals } = setUpGated();
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    const first = reconciler.stop({ graceMs: 500 });
    const second = reconciler.stop();
    await clock.advance(500);
    expect(signals[0]?.aborted).toBe(true);
    await clock.advance(5_000);
    await Promise.all([first, second]);
  });

  it("after a start in between shortens what is still ending", async () => {
    const { reconciler, clock, signals } = setUpGated();
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    const first = reconciler.stop();
    reconciler.start();
    const second = reconciler.stop({ graceMs: 0 });
    await clock.advance(0);
    expect(signals[0]?.aborted).toBe(true);
    await clock.advance(5_000);
    await Promise.all([first, second]);
  });
});

describe("once stop() has resolved", () => {
  it.each([["while it is read"], ["while it is written"]])(
    "no timer is left where the store hangs %s",
    async (when) => {
      const partition = new Partition();
      const fleet = fakeFleet();
      const { reconciler, clock } = setUpReconciler(
        {
          ...fleet.callbacks,
          create: async (resource, ctx) => {
            partition.cut("both");
            return fleet.callbacks.create(resource, ctx);
          },
        },
        { partition },
      );
      await reconciler.setDesired(1);
      if (when === "while it is read") partition.cut("both");
      reconciler.start();
      await settle(clock);
      const stopped = watch(reconciler.stop({ graceMs: 1_000 }));
      for (let ms = 0; ms < 20_000 && !stopped.isSettled; ms += 100) await clock.advance(100);
      expect(stopped.isSettled).toBe(true);
      expect(clock.pendingTimers).toBe(0);
    },
  );

  it("an observe that was told to stop has told nobody that it failed", async () => {
    const { reconciler, clock, events, storeCalls } = setUpReconciler({
      observe: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    events.length = 0;
    storeCalls.length = 0;
    const stopped = reconciler.stop({ graceMs: 1_000 });
    await clock.advance(1_000);
    await stopped;
    expect(events.map(({ type }) => type)).toEqual(["reconciler_stopped"]);
    expect(writesIn(storeCalls)).toEqual([]);
    await clock.advance(60_000);
    expect(events).toHaveLength(1);
    const conditions = (await reconciler.status()).conditions.filter(({ status }) => status);
    expect(conditions).toEqual([]);
  });

  it("nothing of the loop is heard any more", async () => {
    const { reconciler, clock, events, gate } = setUpGated();
    await reconciler.setDesired(2);
    reconciler.start();
    await settle(clock);
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(10_000);
    await stopped;
    events.length = 0;
    gate.resolve();
    await clock.advance(60_000);
    expect(events).toEqual([]);
    expect(eventsOf(events, "pass_finished")).toEqual([]);
  });
});

describe("RetryAfter of observe or desired", () => {
  it("is when the loop asks again, whatever the resync, and what the report says", async () => {
    const asked: number[] = [];
    const { reconciler, clock } = setUpReconciler({
      observe: () => {
        asked.push(clock.now());
        throw new RetryAfter(120_000);
      },
    });
    const at = clock.now();
    expect((await reconciler.reconcile()).nextWakeAt).toBe(at + 120_000);
    expect((await reconciler.plan()).nextWakeAt).toBe(at + 120_000);
    asked.length = 0;
    reconciler.start();
    for (let s = 0; s < 250; s += 1) await clock.advance(1_000);
    expect(asked).toEqual([at, at + 120_000, at + 240_000]);
    await reconciler.stop();
  });

  it("is cut short by a wake()", async () => {
    let asked = 0;
    const { reconciler, clock } = setUpReconciler({
      desired: () => {
        asked += 1;
        throw new RetryAfter(120_000);
      },
    });
    reconciler.start();
    await clock.advance(50_000);
    expect(asked).toBe(1);
    reconciler.wake();
    await settle(clock);
    expect(asked).toBe(2);
    await reconciler.stop();
  });

  it("of both is the later one; and a plain failure beside it has no say", async () => {
    let failure: Error = new RetryAfter(90_000);
    const { reconciler, clock } = setUpReconciler({
      desired: () => {
        throw new RetryAfter(60_000);
      },
      observe: () => {
        throw failure;
      },
    });
    const at = clock.now();
    expect((await reconciler.reconcile()).nextWakeAt).toBe(at + 90_000);
    failure = new Error("down");
    expect((await reconciler.reconcile()).nextWakeAt).toBe(at + 60_000);
  });

  it("an answer that failed otherwise names no time: passes back off", async () => {
    const { reconciler } = setUpReconciler({
      observe: () => {
        throw new Error("down");
      },
    });
    await reconciler.setDesired(1);
    expect(await reconciler.reconcile()).not.toHaveProperty("nextWakeAt");
  });
});
