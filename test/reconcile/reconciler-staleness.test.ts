import { fixedThreshold, type ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, heldOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const HOUR_MS = 3_600_000;

/** One resource, and a loop that no resync helps. */
async function setUpLoop(options: Partial<ReconcilerOptions> = {}) {
  const test = setUpReconciler({ resyncIntervalMs: HOUR_MS, ...options });
  await test.reconciler.setDesired(1);
  test.reconciler.start();
  await settle(test.clock);
  return { ...test, created: () => test.fleet.created.length };
}

describe("a resource that falls silent under a loop", () => {
  it("is fresh at 30,000 ms and replaced at 30,001, without a resync", async () => {
    const { reconciler, clock, ledger, created } = await setUpLoop();
    await clock.advance(40_000);
    await ledger.heartbeat("web-0");
    await clock.advance(30_000);
    expect(created()).toBe(1);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(1);
    await settle(clock);
    expect(created()).toBe(2);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 2, reason: "HeartbeatStale" });
    await reconciler.stop();
  });

  it("is replaced once, and its predecessor is terminated", async () => {
    const { reconciler, clock, ledger, fleet } = await setUpLoop();
    await clock.advance(59_000);
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    await settle(clock);
    expect(fleet.calls).toEqual(["create web-0/1", "create web-0/2", "terminate web-0/1"]);
    await clock.advance(29_000);
    expect(fleet.calls).toHaveLength(3);
    await reconciler.stop();
  });

  it("is found in time while a create of another one hangs", async () => {
    const { create } = fakeFleet().callbacks;
    const { reconciler, clock, ledger } = await setUpLoop({
      actionTimeoutMs: HOUR_MS,
      create: (resource, ctx) => (resource.id === "web-1" ? new Promise(() => {}) : create(resource, ctx)),
    });
    await ledger.heartbeat("web-0");
    await reconciler.setDesired(2);
    await settle(clock);
    expect(await ledger.get("web-1")).toMatchObject({ state: "PENDING" });
    await clock.advance(30_001);
    await settle(clock);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 2 });
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(1_000);
    await stopped;
  });

  it("is found in time also where it was made in the pass in which another one's create hangs", async () => {
    const { create } = fakeFleet().callbacks;
    const { reconciler, clock, ledger } = setUpReconciler({
      resyncIntervalMs: HOUR_MS,
      actionTimeoutMs: HOUR_MS,
      create: (resource, ctx) => (resource.id === "web-1" ? new Promise(() => {}) : create(resource, ctx)),
    });
    await reconciler.setDesired(2);
    reconciler.start();
    await clock.advance(60_000);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 1 });
    await clock.advance(2);
    await settle(clock);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 2 });
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(1_000);
    await stopped;
  });

  it("is found in time while another one's create fails ever more rarely", async () => {
    const { create } = fakeFleet().callbacks;
    const { reconciler, clock, ledger } = await setUpLoop({
      create: (resource, ctx) => (resource.id === "web-1" ? Promise.reject(new Error("no")) : create(resource, ctx)),
    });
    await reconciler.setDesired(2);
    for (let minute = 0; minute < 30; minute += 1) {
      await clock.advance(20_000);
      await ledger.heartbeat("web-0");
    }
    await clock.advance(30_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    // Passes that failed are tried again after parts of milliseconds.
    await clock.advance(2);
    await settle(clock);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });

  it("has 60 s from when it was provisioned, if it has never beaten", async () => {
    const { reconciler, clock, created } = await setUpLoop();
    await clock.advance(60_000);
    expect(created()).toBe(1);
    await clock.advance(1);
    await settle(clock);
    expect(created()).toBe(2);
    await reconciler.stop();
  });
});

describe("a beat between the reading and the mark", () => {
  it("wins", async () => {
    let beat: (() => unknown) | undefined;
    const { reconciler, clock, ledger, fleet } = setUpReconciler(
      {},
      {
        // The row was read as silent, and is about to be marked.
        decide: ({ operation }) => {
          if (operation !== "resources.apply" || beat === undefined) return undefined;
          beat();
          beat = undefined;
          return { delayMs: 10 };
        },
      },
    );
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    beat = () => ledger.heartbeat("web-0");
    const reported = reconciler.reconcile();
    await clock.advance(100);
    const report = await reported;
    expect(report.actions).toEqual([]);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 1, state: "PROVISIONED" });
    expect(fleet.created).toHaveLength(1);
    expect(await reconciler.reconcile()).toMatchObject({ actions: [], converged: true });
  });
});

describe("a grace of staleAfterMs", () => {
  it("is not given by reconcile(), which judges at once", async () => {
    const { reconciler, clock, ledger } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
  });

  it("is given after start()", async () => {
    const { reconciler, clock, ledger } = setUpReconciler({ resyncIntervalMs: HOUR_MS });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(HOUR_MS);
    reconciler.start();
    await clock.advance(29_999);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    expect((await reconciler.explain("web-0")).map(({ reason }) => reason)).toContain("HeartbeatStale, held by grace");
    await clock.advance(2);
    await settle(clock);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });

  it("is of staleAfterMs also where that is longer than the startup grace", async () => {
    const staleness = fixedThreshold({ staleAfterMs: 120_000 });
    const { reconciler, clock, ledger } = setUpReconciler({ resyncIntervalMs: HOUR_MS, staleness });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(HOUR_MS);
    reconciler.start();
    await clock.advance(119_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(1_001);
    await settle(clock);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });

  it("is given after resume()", async () => {
    const { reconciler, clock, ledger } = await setUpLoop();
    await ledger.heartbeat("web-0");
    reconciler.pause();
    await clock.advance(HOUR_MS);
    reconciler.resume();
    await clock.advance(29_999);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(2);
    await settle(clock);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });

  it("is given after a jump of the clock, and ends with a beat", async () => {
    const { reconciler, clock, ledger, created } = await setUpLoop();
    await ledger.heartbeat("web-0");
    await clock.set(clock.now() + HOUR_MS);
    reconciler.wake();
    await clock.advance(29_000);
    expect(created()).toBe(1);
    await ledger.heartbeat("web-0");
    await clock.advance(29_000);
    expect(created()).toBe(1);
    await reconciler.stop();
  });

  it("is given after a stall in the middle of a pass", async () => {
    const seen = [{ id: "web-0", incarnation: 1 }];
    let stall: (() => Promise<void>) | undefined;
    const { reconciler, clock, ledger, created } = await setUpLoop({
      observe: async () => {
        await stall?.();
        return seen;
      },
    });
    await settle(clock);
    await ledger.heartbeat("web-0");
    stall = async () => {
      stall = undefined;
      await clock.set(clock.now() + 60_000);
    };
    reconciler.wake();
    await settle(clock);
    expect(stall).toBeUndefined();
    expect(created()).toBeLessThanOrEqual(1);
    expect((await ledger.get("web-0"))?.state).toBe("PROVISIONED");
    expect(heldOf(await reconciler.plan())).toEqual([]);
    await reconciler.stop();
  });
});
