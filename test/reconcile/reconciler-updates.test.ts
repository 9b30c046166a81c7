import type { ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, heldOf } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

function specs(count: number, size: number) {
  return Array.from({ length: count }, (_, index) => ({ id: `r-${index}`, spec: { size } }));
}

async function setUpSpecs(count: number, options: Partial<ReconcilerOptions<{ size: number }>> = {}) {
  const test = setUpReconciler({ concurrency: 100, ...(options as Partial<ReconcilerOptions>) });
  await test.reconciler.setDesired(specs(count, 1));
  await test.reconciler.reconcile();
  test.fleet.calls.length = 0;
  return test;
}

describe("a new spec", () => {
  it("with update: is brought about in place, and shown to it", async () => {
    const updated: unknown[] = [];
    const { reconciler, ledger, fleet } = await setUpSpecs(1, {
      update: async ({ id, incarnation, spec, externalId, generation }) =>
        void updated.push({ id, incarnation, spec, externalId, generation }),
    });
    await reconciler.setDesired(specs(1, 2));
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["update r-0/1"]);
    expect(report.converged).toBe(true);
    expect(updated).toEqual([{ id: "r-0", incarnation: 1, spec: { size: 2 }, externalId: "x1", generation: 2 }]);
    expect(await ledger.get("r-0")).toMatchObject({ incarnation: 1, spec: { size: 2 }, generation: 2 });
    expect(fleet.calls).toEqual([]);
  });

  it("whose update fails is open, and is tried again with one key", async () => {
    const keys: string[] = [];
    const { reconciler, ledger, clock } = await setUpSpecs(1, {
      update: async (_, { idempotencyKey }) => {
        keys.push(idempotencyKey);
        if (keys.length < 3) throw new Error("no");
      },
    });
    await reconciler.setDesired(specs(1, 2));
    await reconciler.reconcile();
    expect(await ledger.get("r-0")).toMatchObject({ state: "PROVISIONED", reason: "SpecChanged" });
    reconciler.start();
    await clock.advance(5_000);
    expect(await ledger.get("r-0")).toMatchObject({ state: "PROVISIONED", spec: { size: 2 } });
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
    await reconciler.stop();
  });

  it("without update: a replacement is made, and the old one ends when that is there", async () => {
    const { reconciler, fleet } = await setUpSpecs(1);
    await reconciler.setDesired(specs(1, 2));
    for (let pass = 0; pass < 3; pass += 1) await reconciler.reconcile();
    expect(fleet.calls).toEqual(["create r-0/2", "terminate r-0/1"]);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });

  it("without update, fenceFirst: the old one ends before", async () => {
    const { reconciler, fleet } = await setUpSpecs(1, { replacement: "fenceFirst" });
    await reconciler.setDesired(specs(1, 2));
    for (let pass = 0; pass < 3; pass += 1) await reconciler.reconcile();
    expect(fleet.calls).toEqual(["terminate r-0/1", "create r-0/2"]);
  });

  it("that is equal with its keys in another order is none", async () => {
    const { reconciler, fleet } = setUpReconciler();
    await reconciler.setDesired([{ id: "a", spec: { x: 1, y: 2 } }]);
    await reconciler.reconcile();
    expect(await reconciler.setDesired([{ id: "a", spec: { y: 2, x: 1 } }])).toEqual({ generation: 1 });
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(fleet.calls).toHaveLength(1);
  });
});

describe("the disruption budget", () => {
  const budgets: readonly [ReconcilerOptions["maxUnavailable"], number, number][] = [
    [undefined, 30, 3],
    [undefined, 5, 1],
    ["50%", 9, 4],
    [7, 30, 7],
    ["100%", 6, 6],
  ];

  it.each(budgets)("%s of %d: %d at a time", async (maxUnavailable, count, atATime) => {
    const option = maxUnavailable === undefined ? {} : { maxUnavailable };
    const { reconciler } = await setUpSpecs(count, { update: async () => {}, ...option });
    await reconciler.setDesired(specs(count, 2));
    const report = await reconciler.reconcile();
    expect(report.actions).toHaveLength(atATime);
    expect(heldOf(report).filter((held) => held.endsWith("budget"))).toHaveLength(count - atATime);
  });

  it("counts what is under way, and a loop gets through by itself", async () => {
    let most = 0;
    const fleet = fakeFleet();
    const { reconciler, clock } = await setUpSpecs(20, {
      ...(fleet.callbacks as object),
      resyncIntervalMs: 3_600_000,
      create: (resource, ctx) => {
        const made = fleet.callbacks.create(resource, ctx);
        most = Math.max(most, fleet.running.size);
        return made;
      },
    });
    await reconciler.setDesired(specs(20, 2));
    reconciler.start();
    await clock.advance(20_000);
    expect(fleet.created).toHaveLength(40);
    // Two more than desired at a time: 10 %.
    expect(most).toBeLessThanOrEqual(22);
    expect(await reconciler.status()).toMatchObject({ converged: true, drift: { outdated: 0 } });
    await reconciler.stop();
  });

  it("is used up by what fell silent", async () => {
    const { reconciler, clock, ledger } = await setUpSpecs(20, { update: async () => {}, replacement: "fenceFirst" });
    await clock.advance(30_000);
    await Promise.all(Array.from({ length: 20 }, (_, index) => ledger.heartbeat(`r-${index}`)));
    await clock.advance(29_000);
    await Promise.all(Array.from({ length: 18 }, (_, index) => ledger.heartbeat(`r-${index}`)));
    await clock.advance(1_001);
    await reconciler.setDesired(specs(20, 2));
    // r-18 and r-19 are marked FAILED.
    await reconciler.reconcile();
    const report = await reconciler.reconcile();
    expect(actionsOf(report).filter((action) => action.startsWith("update"))).toEqual([]);
  });
});

describe("the surplus", () => {
  it("goes in the order that is asked for, and by deletionCost before that", async () => {
    const { reconciler } = setUpReconciler();
    const ids = ["a", "b", "c", "d"];
    await reconciler.setDesired(ids.map((id) => ({ id, deletionCost: id === "d" ? 100 : 0 })));
    await reconciler.reconcile();
    await reconciler.setDesired(0);
    expect(actionsOf(await reconciler.plan())).toEqual([
      "terminate c/1",
      "terminate b/1",
      "terminate a/1",
      "terminate d/1",
    ]);
  });

  it("that is TERMINATING already takes no second victim", async () => {
    const { reconciler, clock, fleet } = setUpReconciler({
      terminate: () => new Promise(() => {}),
      actionTimeoutMs: 5_000,
    });
    await reconciler.setDesired(10);
    await reconciler.reconcile();
    await reconciler.setDesired(8);
    const reported = reconciler.reconcile();
    await clock.advance(5_000);
    await reported;
    const plan = await reconciler.plan();
    const named = [...plan.actions, ...plan.held].map(({ id }) => id);
    expect(new Set(named)).toEqual(new Set(["web-8", "web-9"]));
    expect(fleet.ids()).toHaveLength(10);
  });

  it("does not depend on the order in which it was desired", async () => {
    const plans = [];
    for (const ids of [
      ["a", "b", "c"],
      ["c", "a", "b"],
      ["b", "c", "a"],
    ]) {
      const { reconciler } = setUpReconciler();
      await reconciler.setDesired(ids.map((id) => ({ id })));
      plans.push(await reconciler.plan());
      await reconciler.reconcile();
      await reconciler.setDesired(0);
      plans.push(await reconciler.plan());
    }
    expect(plans[2]?.hash).toBe(plans[0]?.hash);
    expect(plans[4]?.hash).toBe(plans[0]?.hash);
    expect(plans[3]?.actions).toEqual(plans[1]?.actions);
    expect(plans[5]?.actions).toEqual(plans[1]?.actions);
  });
});
