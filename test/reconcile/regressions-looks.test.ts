import { fixedThreshold, type ObservedResource, type Plan, TerminalError } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, deferred, heldOf, settle } from "./reconciler-kit.ts";
import { type FakeFleet, setUpReconciler } from "./set-up.ts";

const never = fixedThreshold({ staleAfterMs: 1e9, startupGraceMs: 1e9 });

function itemsOf({ running }: FakeFleet): ObservedResource[] {
  return [...running].map(([externalId, { id, incarnation }]) => ({ id, incarnation, externalId }));
}

/** Begins something else as soon as a callback has been asked the next time. */
function besides() {
  let begin: (() => Promise<Plan>) | undefined;
  let begun: Promise<Plan> | undefined;
  return {
    next(what: () => Promise<Plan>): void {
      begin = what;
    },
    asked(): void {
      const what = begin;
      begin = undefined;
      if (what !== undefined) queueMicrotask(() => (begun = what()));
    },
    done: async () => begun,
  };
}

describe("approve()", () => {
  it("carries out what its plan showed, whatever a plan() beside it is answered", async () => {
    const answers: (number | [])[] = [];
    const beside = besides();
    const { reconciler, fleet } = setUpReconciler({
      desired: () => {
        beside.asked();
        return answers.shift() ?? 12;
      },
    });
    await reconciler.reconcile();
    await reconciler.reconcile();
    answers.push(11);
    const plan = await reconciler.plan();
    expect(actionsOf(plan)).toEqual(["terminate web-11/1"]);
    answers.push(11, []);
    beside.next(() => reconciler.plan());
    const report = await reconciler.approve(plan.hash);
    expect((await beside.done())?.generation).toBeGreaterThan(0);
    expect(actionsOf(report)).toEqual(["terminate web-11/1"]);
    expect(fleet.running.size).toBe(11);
  });

  it("ends nothing because of what a plan() beside it observes", async () => {
    const answers: ObservedResource[][] = [];
    const beside = besides();
    const set = setUpReconciler({
      staleness: never,
      observeGraceMs: 1_000,
      observe: () => {
        beside.asked();
        return answers.shift() ?? itemsOf(set.fleet);
      },
    });
    const { reconciler, clock, fleet } = set;
    await reconciler.setDesired(12);
    for (let pass = 0; pass < 3; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(5_000);
    }
    await reconciler.setDesired(11);
    const plan = await reconciler.plan();
    answers.push(itemsOf(fleet), []);
    beside.next(() => reconciler.plan());
    const report = await reconciler.approve(plan.hash);
    expect((await beside.done())?.generation).toBeGreaterThan(0);
    expect(actionsOf(report)).toEqual(["terminate web-11/1"]);
  });

  it("refuses a plan whose specs are other ones by now", async () => {
    let spec = "a";
    const updates: unknown[] = [];
    const { reconciler } = setUpReconciler({
      staleness: never,
      desired: () => [{ id: "one", spec }],
      update: async (resource) => {
        updates.push(resource.spec);
      },
    });
    await reconciler.reconcile();
    await reconciler.reconcile();
    spec = "2";
    const plan = await reconciler.plan();
    expect(actionsOf(plan)).toEqual(["update one/1"]);
    spec = "999";
    await expect(reconciler.approve(plan.hash)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    expect(updates).toEqual([]);
    spec = "2";
    await reconciler.approve(plan.hash);
    expect(updates).toEqual(["2"]);
  });

  it("refuses a plan that holds for other specs than are desired by now", async () => {
    let spec = "a";
    const ids = Array.from({ length: 12 }, (_, index) => `w${index}`);
    const { reconciler, clock, fleet } = setUpReconciler({ desired: () => ids.map((id) => ({ id, spec })) });
    await reconciler.reconcile();
    await clock.advance(31_000);
    await reconciler.reconcile();
    spec = "b";
    const plan = await reconciler.plan();
    expect(plan.held.length).toBeGreaterThan(0);
    spec = "c";
    await expect(reconciler.approve(plan.hash)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    expect(fleet.created).toHaveLength(12);
  });

  it("keeps what is desired under the number that it acts on", async () => {
    let spec = "good";
    const { reconciler, store, clock } = setUpReconciler({
      staleness: never,
      desired: () => [{ id: "one", spec }],
      create: async (resource) => {
        if (resource.spec === "bad") throw new TerminalError("bad");
      },
    });
    spec = "bad";
    const plan = await reconciler.plan();
    const report = await reconciler.approve(plan.hash);
    expect(report.actions).toMatchObject([{ result: "failed" }]);
    const stored = await store.resources.getDesired("web", { timeoutMs: 1_000 });
    expect(stored.generation).toBe(report.generation);
    spec = "good";
    await clock.advance(60_000);
    const next = await reconciler.plan();
    expect(next.generation).toBe(report.generation + 1);
    expect(heldOf(next)).toEqual([]);
  });

  it("keeps nothing of a plan that it refuses", async () => {
    const { reconciler, store } = setUpReconciler({ desired: () => 3 });
    await expect(reconciler.approve("another")).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    expect((await store.resources.getDesired("web", { timeoutMs: 1_000 })).generation).toBe(0);
  });
});

describe("a pass", () => {
  it("reports by its own answers, whatever a plan() beside it is answered", async () => {
    const running = deferred();
    let isPartial = false;
    const set = setUpReconciler({
      staleness: never,
      observeGraceMs: 1_000,
      observe: () => (isPartial ? { complete: false, items: [] } : itemsOf(set.fleet)),
      terminate: async () => running.promise,
    });
    const { reconciler, clock } = set;
    await reconciler.setDesired(3);
    for (let pass = 0; pass < 2; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(5_000);
    }
    await reconciler.setDesired(2);
    const pass = reconciler.reconcile();
    await settle(clock);
    isPartial = true;
    await reconciler.plan();
    running.resolve();
    const { conditions } = await pass;
    expect(conditions.find(({ type }) => type === "Converged")?.reason).toBe("InProgress");
  });

  it("concludes of the generation that it acted on, while status() tells of a later one", async () => {
    const running = deferred();
    const { reconciler, clock, ledger } = setUpReconciler({ create: async () => running.promise });
    await reconciler.setDesired(1);
    const pass = reconciler.reconcile();
    await settle(clock);
    await ledger.setDesired(5);
    expect(await reconciler.status()).toMatchObject({ generation: 2, desired: 5 });
    running.resolve();
    expect(await pass).toMatchObject({ generation: 1, converged: true });
    expect(await reconciler.status()).toMatchObject({ generation: 2, observedGeneration: 1, drift: { missing: 4 } });
  });

  it("does not take an empty answer as confirmed by one from before it went blind", async () => {
    let mode: "all" | "none" | "throw" = "all";
    const set = setUpReconciler({
      staleness: never,
      observeGraceMs: 1_000,
      observe: () => {
        if (mode === "throw") throw new Error("no");
        return mode === "none" ? [] : itemsOf(set.fleet);
      },
    });
    const { reconciler, clock } = set;
    await reconciler.setDesired(12);
    await reconciler.reconcile();
    await clock.advance(5_000);
    await reconciler.reconcile();
    mode = "none";
    expect(conditionsOf(await reconciler.reconcile()).UnconfirmedEmpty).toBe("observe");
    mode = "throw";
    await reconciler.reconcile();
    mode = "none";
    const report = await reconciler.reconcile();
    expect(conditionsOf(report).UnconfirmedEmpty).toBe("observe");
    expect(actionsOf(report)).toEqual([]);
  });

  it("does not take an empty desired answer as confirmed by one from before it went blind", async () => {
    let mode: "all" | "none" | "throw" = "all";
    const { reconciler, fleet } = setUpReconciler({
      staleness: never,
      desired: () => {
        if (mode === "throw") throw new Error("no");
        return mode === "none" ? 0 : 12;
      },
    });
    await reconciler.reconcile();
    for (const next of ["none", "throw", "none"] as const) {
      mode = next;
      await reconciler.reconcile();
    }
    expect(fleet.running.size).toBe(12);
  });
});
