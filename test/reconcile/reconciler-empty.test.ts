import type { ObservedResource, ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { conditionsOf, eventsOf, fakeLeader, heldOf } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

/** So many resources whose observation may come to be empty; old enough to be missed. */
async function setUpObserved(count: number, options: Partial<ReconcilerOptions> = {}) {
  const fleet = fakeFleet();
  let seen: ((all: ObservedResource[]) => Iterable<ObservedResource>) | undefined;
  const test = setUpReconciler({
    ...fleet.callbacks,
    observe: () => {
      const all = [...fleet.running].map(([externalId, item]) => ({ ...item, externalId }));
      return seen?.(all) ?? all;
    },
    ...options,
  });
  await test.reconciler.setDesired(count);
  await test.reconciler.reconcile();
  await test.clock.advance(30_000);
  fleet.calls.length = 0;
  const see = (what: typeof seen): void => {
    seen = what;
  };
  return { ...test, fleet, see };
}

/** So many resources that the callback desires, until it says otherwise. */
async function setUpDesired(count: number, options: Partial<ReconcilerOptions> = {}) {
  let desired: unknown = count;
  const test = setUpReconciler({ desired: () => desired as number, ...options });
  await test.reconciler.reconcile();
  test.fleet.calls.length = 0;
  const desire = (what: unknown): void => {
    desired = what;
  };
  return { ...test, desire };
}

describe("an empty observation", () => {
  it("of 10 rows waits for a second one", async () => {
    const { reconciler, fleet, see, events } = await setUpObserved(10);
    see(() => []);
    const first = await reconciler.reconcile();
    expect(first.actions).toEqual([]);
    expect(first.held).toHaveLength(10);
    expect(heldOf(first)[0]).toBe("create web-0: unconfirmedEmpty");
    expect(conditionsOf(first).UnconfirmedEmpty).toBe("observe");
    expect(eventsOf(events, "condition_changed")).toContainEqual(
      expect.objectContaining({ condition: "UnconfirmedEmpty", status: true }),
    );
    expect(fleet.calls).toEqual([]);
    const second = await reconciler.reconcile();
    expect(second.actions).toHaveLength(10);
    expect(conditionsOf(second).UnconfirmedEmpty).toBeUndefined();
  });

  it("is believed at once where all that it lacks was to be ended", async () => {
    const { reconciler, fleet } = await setUpObserved(10);
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    expect(fleet.running.size).toBe(0);
    const gone = await reconciler.reconcile();
    expect(conditionsOf(gone)).toEqual({ Converged: "AsDesired" });
    expect((await reconciler.status()).observed).toMatchObject({ TERMINATING: 0, TERMINATED: 10 });
  });

  it.each(["another has led", "it was stopped"] as const)(
    "confirms no later one where %s meanwhile",
    async (meanwhile) => {
      const leader = fakeLeader(1);
      const { reconciler, fleet, see } = await setUpObserved(10, { leader });
      see(() => []);
      expect((await reconciler.reconcile()).held).toHaveLength(10);
      if (meanwhile === "another has led") {
        leader.lose();
        leader.lead(3);
      } else await reconciler.stop();
      expect((await reconciler.reconcile()).held).toHaveLength(10);
      expect(fleet.calls).toEqual([]);
      expect((await reconciler.reconcile()).actions).toHaveLength(10);
    },
  );

  it("of 9 rows acts at once", async () => {
    const { reconciler, see } = await setUpObserved(9);
    see(() => []);
    expect((await reconciler.reconcile()).actions).toHaveLength(9);
  });

  it("with allowEmpty acts at once", async () => {
    const { reconciler, see } = await setUpObserved(10, { allowEmpty: true });
    see(() => []);
    expect((await reconciler.reconcile()).actions).toHaveLength(10);
  });

  it("is not confirmed by plan()", async () => {
    const { reconciler, see, fleet } = await setUpObserved(10);
    see(() => []);
    for (let time = 0; time < 3; time += 1) expect((await reconciler.plan()).actions).toEqual([]);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(fleet.calls).toEqual([]);
  });

  it("is not confirmed by one after an answer that was not empty", async () => {
    const { reconciler, see, fleet } = await setUpObserved(10);
    see(() => []);
    await reconciler.reconcile();
    see((all) => all);
    await reconciler.reconcile();
    see(() => []);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(fleet.calls).toEqual([]);
  });

  it("is confirmed by approve() of the plan that shows it held", async () => {
    const { reconciler, see, fleet } = await setUpObserved(10);
    see(() => []);
    const plan = await reconciler.plan();
    expect(plan.held).toHaveLength(10);
    const report = await reconciler.approve(plan.hash);
    expect(report.actions).toHaveLength(10);
    expect(fleet.calls).toHaveLength(10);
  });
});

describe("an empty desired", () => {
  it.each([[0], [[]], [{ complete: true, resources: [] }]])("%j over 10 rows waits for a second one", async (empty) => {
    const { reconciler, desire, fleet, ledger } = await setUpDesired(10);
    desire(empty);
    const first = await reconciler.reconcile();
    expect(first.held).toHaveLength(10);
    expect(heldOf(first)).toContain("terminate web-9: unconfirmedEmpty");
    expect(conditionsOf(first).UnconfirmedEmpty).toBe("desired");
    expect(fleet.calls).toEqual([]);
    expect((await ledger.desired()).resources).toHaveLength(10);
    const second = await reconciler.reconcile();
    expect(second.actions).toHaveLength(10);
    expect(second.converged).toBe(true);
    expect(await ledger.desired()).toMatchObject({ generation: 2, resources: [] });
  });

  it("over 9 rows acts at once", async () => {
    const { reconciler, desire, fleet } = await setUpDesired(9);
    desire(0);
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual([]);
  });

  it("with allowEmpty acts at once", async () => {
    const { reconciler, desire, fleet } = await setUpDesired(10, { allowEmpty: true });
    desire([]);
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual([]);
  });

  it("that is partial ends nothing, ever", async () => {
    const { reconciler, desire, fleet } = await setUpDesired(10);
    desire({ complete: false, resources: [] });
    for (let pass = 0; pass < 3; pass += 1) await reconciler.reconcile();
    expect(fleet.calls).toEqual([]);
  });

  it("is not confirmed by one from before an answer that was unknown, but by a second one after it", async () => {
    const { reconciler, desire, fleet } = await setUpDesired(10);
    desire(0);
    await reconciler.reconcile();
    desire(-1);
    await reconciler.reconcile();
    desire(0);
    await reconciler.reconcile();
    expect(fleet.calls).toEqual([]);
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual([]);
  });

  it("is not confirmed by plan(), nor after an answer that was not empty", async () => {
    const { reconciler, desire, fleet } = await setUpDesired(10);
    desire(0);
    await reconciler.plan();
    await reconciler.plan();
    await reconciler.reconcile();
    desire(10);
    await reconciler.reconcile();
    desire(0);
    await reconciler.reconcile();
    expect(fleet.calls).toEqual([]);
  });

  it("is confirmed by approve(), and by no hash of another plan", async () => {
    const { reconciler, desire, fleet, ledger } = await setUpDesired(10);
    const { hash: other } = await reconciler.plan();
    desire(0);
    const plan = await reconciler.plan();
    await expect(reconciler.approve(other)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    await expect(reconciler.approve("")).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    await expect(reconciler.approve(7 as never)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    expect(fleet.calls).toEqual([]);
    await reconciler.approve(plan.hash);
    expect(fleet.ids()).toEqual([]);
    await reconciler.reconcile();
    expect((await ledger.desired()).resources).toEqual([]);
  });

  it("that setDesired() said is intent: it acts at once", async () => {
    const { reconciler, fleet } = setUpReconciler();
    await reconciler.setDesired(30);
    await reconciler.reconcile();
    await reconciler.setDesired(0);
    expect((await reconciler.reconcile()).actions).toHaveLength(30);
    expect(fleet.ids()).toEqual([]);
  });
});
