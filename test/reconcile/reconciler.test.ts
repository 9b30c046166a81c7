import { describe, expect, it } from "vitest";
import { setUpReconciler } from "./set-up.ts";

describe("the three challenges", () => {
  it("desired 10, then 5: the surplus is terminated, the highest ids first", async () => {
    const { reconciler, fleet } = setUpReconciler();
    await reconciler.setDesired(10);
    const made = await reconciler.reconcile();
    expect(made.converged).toBe(true);
    expect(fleet.ids()).toHaveLength(10);
    await reconciler.setDesired(5);
    const plan = await reconciler.plan();
    expect(plan.actions.map(({ type, id }) => `${type} ${id}`)).toEqual([
      "terminate web-9",
      "terminate web-8",
      "terminate web-7",
      "terminate web-6",
      "terminate web-5",
    ]);
    const report = await reconciler.reconcile();
    expect(report.converged).toBe(true);
    expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2", "web-3", "web-4"]);
    expect(fleet.terminated).toHaveLength(5);
  });

  it("a row whose heartbeat is older than 30 s becomes FAILED and is replaced, once", async () => {
    const { reconciler, fleet, clock, ledger } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await ledger.heartbeat("web-0");
    await clock.advance(30_000);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ type, incarnation, result }) => `${type} ${incarnation} ${result}`)).toEqual([
      "fail 1 done",
      "replace 2 done",
    ]);
    const second = await reconciler.reconcile();
    expect(second.actions.map(({ type, incarnation }) => `${type} ${incarnation}`)).toEqual(["terminate 1"]);
    expect(second.converged).toBe(true);
    expect(fleet.created).toHaveLength(2);
  });
});
