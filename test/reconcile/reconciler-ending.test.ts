import { NotFound, type ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, deferred, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

/** One resource that is not wanted any more. */
async function setUpSurplus(options: Partial<ReconcilerOptions> = {}) {
  const test = setUpReconciler({ resyncIntervalMs: 3_600_000, ...options });
  await test.reconciler.setDesired(1);
  await test.reconciler.reconcile();
  await test.clock.advance(31_000);
  await test.reconciler.setDesired(0);
  return test;
}

describe("a terminate that fails", () => {
  it("is repeated with a backoff and one key, until it succeeds", async () => {
    const keys: string[] = [];
    const { reconciler, clock, ledger } = await setUpSurplus({
      terminate: async (_, { idempotencyKey }) => {
        keys.push(idempotencyKey);
        if (keys.length < 5) throw new Error("no");
      },
    });
    reconciler.start();
    await clock.advance(10_000);
    expect(keys).toHaveLength(5);
    expect(new Set(keys).size).toBe(1);
    expect(await ledger.get("web-0")).toMatchObject({ state: "TERMINATED" });
    expect(await reconciler.status()).toMatchObject({ converged: true });
    await reconciler.stop();
  });

  it("with NotFound has succeeded", async () => {
    const { reconciler } = await setUpSurplus({ terminate: () => Promise.reject(new NotFound()) });
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "terminate", result: "done" }]);
    expect(report.converged).toBe(true);
  });

  it("by hanging is forced once terminateGraceMs is over", async () => {
    const forced: number[] = [];
    const test = await setUpSurplus({
      terminate: () => new Promise(() => {}),
      forceTerminate: async () => void forced.push(test.clock.now()),
      terminateGraceMs: 20_000,
      actionTimeoutMs: 600_000,
    });
    const { reconciler, clock, ledger } = test;
    const from = clock.now();
    reconciler.start();
    await clock.advance(19_999);
    expect(forced).toEqual([]);
    await clock.advance(201);
    await settle(clock);
    expect(forced).toHaveLength(1);
    expect((forced[0] ?? 0) - from).toBeGreaterThanOrEqual(20_000);
    expect(await ledger.get("web-0")).toMatchObject({ state: "TERMINATED" });
    await reconciler.stop();
  });

  it("by throwing is forced once terminateGraceMs is over, and not before", async () => {
    const forced: number[] = [];
    const test = await setUpSurplus({
      terminate: () => Promise.reject(new Error("no")),
      forceTerminate: async () => void forced.push(test.clock.now()),
    });
    const { reconciler, clock } = test;
    reconciler.start();
    await clock.advance(29_900);
    expect(forced).toEqual([]);
    await clock.advance(200);
    expect(forced).toHaveLength(1);
    await reconciler.stop();
  });
});

describe("a resource whose create was interrupted", () => {
  it("and that is unwanted is terminated: it may be there", async () => {
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      ...fleet.callbacks,
      actionTimeoutMs: 5_000,
      // It is made, and nobody hears of it.
      create: async (resource, ctx) => {
        await fleet.callbacks.create(resource, ctx);
        return new Promise(() => {});
      },
      terminate: async ({ id }) => {
        for (const [externalId, item] of fleet.running) if (item.id === id) fleet.running.delete(externalId);
      },
    });
    await reconciler.setDesired(1);
    const reported = reconciler.reconcile();
    await clock.advance(5_000);
    await reported;
    await reconciler.setDesired(0);
    await clock.advance(5_000);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["terminate web-0/1"]);
    expect(fleet.ids()).toEqual([]);
  });

  it("and that is wanted again while it ends waits until it is gone, and is a new one then", async () => {
    const gate = deferred();
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      resyncIntervalMs: 3_600_000,
      ...fleet.callbacks,
      terminate: async (resource, ctx) => {
        await gate.promise;
        await fleet.callbacks.terminate(resource, ctx);
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    await reconciler.setDesired(0);
    await settle(clock);
    await reconciler.setDesired(1);
    await clock.advance(2_000);
    expect(fleet.created).toHaveLength(1);
    gate.resolve();
    await clock.advance(1_000);
    expect(fleet.calls).toEqual(["create web-0/1", "terminate web-0/1", "create web-0/2"]);
    await reconciler.stop();
  });
});

describe("with an own observe", () => {
  async function setUpObserved(options: Partial<ReconcilerOptions> = {}) {
    const fleet = fakeFleet();
    let complete = true;
    const calls: string[] = [];
    const test = await setUpSurplus({
      ...fleet.callbacks,
      observe: () => ({ complete, items: [...fleet.running].map(([externalId, item]) => ({ ...item, externalId })) }),
      terminate: async ({ id, incarnation }) => void calls.push(`terminate ${id}/${incarnation}`),
      ...options,
    });
    const answerInPart = (): void => {
      complete = false;
    };
    const answerInFull = (): void => {
      complete = true;
    };
    return { ...test, fleet, calls, answerInPart, answerInFull };
  }

  it("stays TERMINATING until a complete observation lacks it", async () => {
    const { reconciler, fleet, ledger, calls, answerInPart, answerInFull } = await setUpObserved();
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "terminate", result: "done" }]);
    expect(report.converged).toBe(false);
    await reconciler.reconcile();
    expect(await ledger.get("web-0")).toMatchObject({ state: "TERMINATING" });
    fleet.running.clear();
    answerInPart();
    await reconciler.reconcile();
    expect(await ledger.get("web-0")).toMatchObject({ state: "TERMINATING" });
    answerInFull();
    expect(actionsOf(await reconciler.reconcile())).toEqual(["drop web-0/1"]);
    expect(await reconciler.status()).toMatchObject({ converged: true });
    // Accepted is accepted: once.
    expect(calls).toEqual(["terminate web-0/1"]);
  });

  it("is noticed to be gone soon, without a resync", async () => {
    const { reconciler, fleet, clock } = await setUpObserved();
    reconciler.start();
    await clock.advance(5_000);
    fleet.running.clear();
    await clock.advance(10_000);
    expect(await reconciler.status()).toMatchObject({ converged: true });
    await reconciler.stop();
  });

  it("is asked for again after the grace period, or forced where that is possible", async () => {
    const gentle = await setUpObserved();
    gentle.reconciler.start();
    await gentle.clock.advance(29_000);
    expect(gentle.calls).toEqual(["terminate web-0/1"]);
    await gentle.clock.advance(70_000);
    // Once per grace period.
    expect(gentle.calls.length).toBeGreaterThan(1);
    expect(gentle.calls.length).toBeLessThan(5);
    await gentle.reconciler.stop();
    const forced: string[] = [];
    const harsh = await setUpObserved({ forceTerminate: async ({ id }) => void forced.push(id) });
    harsh.reconciler.start();
    await harsh.clock.advance(29_000);
    expect(forced).toEqual([]);
    await harsh.clock.advance(2_000);
    expect(forced).toEqual(["web-0"]);
    expect(harsh.calls).toEqual(["terminate web-0/1"]);
    await harsh.clock.advance(60_000);
    expect(forced.length).toBeGreaterThan(1);
    expect(forced.length).toBeLessThan(4);
    await harsh.reconciler.stop();
  });
});
