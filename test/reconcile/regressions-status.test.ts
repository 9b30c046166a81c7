import { Reconciler } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, fakeLeader, heldOf } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const call = { timeoutMs: 1_000 };

describe("status() says of this moment", () => {
  it("whether it is paused, before and after a pass", async () => {
    const { reconciler, clock } = setUpReconciler();
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    reconciler.pause();
    expect(conditionsOf(await reconciler.status())).toEqual({ Converged: "AsDesired", Paused: "Paused" });
    const since = clock.now();
    await clock.advance(1_000);
    expect((await reconciler.status()).conditions.find(({ type }) => type === "Paused")?.since).toBe(since);
    reconciler.resume();
    expect(conditionsOf(await reconciler.status())).toEqual({ Converged: "AsDesired" });
  });

  it("that it does not lead, though no pass ran since", async () => {
    const leader = fakeLeader(1);
    const { reconciler } = setUpReconciler({ leader });
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    leader.lose();
    expect(conditionsOf(await reconciler.status())).toEqual({ Converged: "AsDesired", NotLeader: "NotLeader" });
    leader.lead(2);
    expect(conditionsOf(await reconciler.status())).toEqual({ Converged: "AsDesired" });
  });
});

describe("a status in the ledger", () => {
  function two() {
    const set = setUpReconciler({ leader: fakeLeader(1) });
    const { store, clock } = set;
    const [gateA, gateB] = [fakeLeader(1), fakeLeader(2)];
    gateB.lose();
    const options = { name: "web", store, clock, ...fakeFleet().callbacks };
    const a = new Reconciler({ ...options, leader: gateA });
    const b = new Reconciler({ ...options, leader: gateB, observe: () => Promise.reject(new Error("no")) });
    const kept = async () => JSON.parse((await store.resources.getDesired("web", call)).status ?? "null");
    return { a, b, gateA, gateB, kept, clock };
  }

  it("is what those tell of the group that do not lead", async () => {
    const { a, b, gateA, gateB } = two();
    await a.setDesired(1);
    await a.reconcile();
    expect(await a.status()).toMatchObject({ converged: true });
    gateA.lose();
    gateB.lead(2);
    await b.setDesired(2);
    await b.reconcile();
    const status = await a.status();
    expect(conditionsOf(status)).toEqual({ NotLeader: "NotLeader", ObserveFailed: "Error" });
    expect(status).toMatchObject({ converged: false, generation: 2, observedGeneration: 1, leader: false });
    expect(status.conditions.find(({ type }) => type === "Converged")).toMatchObject({ status: false });
  });

  it("has what is desired for those who do not lead, and would ask a callback if they did", async () => {
    const { reconciler, store, clock, fleet } = setUpReconciler({ desired: () => 3, leader: fakeLeader(1) });
    await reconciler.reconcile();
    const leader = fakeLeader(1);
    leader.lose();
    const follower = new Reconciler({ name: "web", store, clock, ...fleet.callbacks, desired: () => 3, leader });
    const { generation, desired, converged } = await reconciler.status();
    expect(await follower.status()).toMatchObject({ generation, desired, converged, leader: false });
    expect([generation, desired, converged]).toEqual([1, 3, true]);
  });

  it("is written again by who leads again and finds another's in it", async () => {
    const { a, b, gateA, gateB, kept } = two();
    await a.setDesired(0);
    await a.reconcile();
    gateA.lose();
    gateB.lead(2);
    await b.reconcile();
    expect(await kept()).toMatchObject({ conditions: [{ type: "Converged", status: false }, {}] });
    gateB.lose();
    gateA.lead(3);
    expect(await a.reconcile()).toMatchObject({ converged: true });
    expect(await kept()).toMatchObject({
      conditions: [
        { type: "Converged", status: true },
        { type: "ObserveFailed", status: false },
      ],
    });
  });

  it("is not written back and forth by two who agree", async () => {
    const { reconciler, store, clock, storeCalls } = setUpReconciler();
    const other = new Reconciler({ name: "web", store, clock, ...fakeFleet().callbacks });
    await reconciler.setDesired(0);
    for (const one of [reconciler, other]) await one.reconcile();
    await reconciler.setDesired(1);
    for (const one of [reconciler, other]) {
      one.pause();
      await clock.advance(1_000);
      await one.reconcile();
    }
    storeCalls.length = 0;
    for (const one of [reconciler, other, reconciler, other]) await one.reconcile();
    expect(storeCalls).not.toContain("resources.apply");
  });

  it("keeps the generation that was observed, when who comes next can't see", async () => {
    const { reconciler, store, clock } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    const blind = new Reconciler({
      name: "web",
      store,
      clock,
      ...fakeFleet().callbacks,
      observe: () => Promise.reject(new Error("no")),
    });
    await blind.reconcile();
    const { status = "" } = await store.resources.getDesired("web", call);
    expect(JSON.parse(status)).toMatchObject({ observedGeneration: 2 });
  });
});

describe("after a stop", () => {
  it("status() says of the group what another has written since", async () => {
    const { reconciler, store, clock, fleet } = setUpReconciler({
      create: () => Promise.reject(new Error("no")),
    });
    await reconciler.setDesired(1);
    expect((await reconciler.reconcile()).converged).toBe(false);
    await reconciler.stop();
    await clock.advance(1_000);
    const other = new Reconciler({ name: "web", store, clock, ...fleet.callbacks });
    await other.reconcile();
    const status = await reconciler.status();
    expect(status.converged).toBe(true);
    expect(status.conditions).toEqual((await other.status()).conditions);
  });
});

describe("MassStaleness", () => {
  it("does not hold once all replacements of an approved plan beat", async () => {
    const { reconciler, clock, ledger } = setUpReconciler();
    await reconciler.setDesired(12);
    await reconciler.reconcile();
    const beat = async (incarnation: number) => {
      for (let index = 0; index < 12; index += 1) await ledger.heartbeat(`web-${index}`, { incarnation });
    };
    await beat(1);
    await clock.advance(31_000);
    const held = await reconciler.reconcile();
    expect(conditionsOf(held).MassStaleness).toBe("Held");
    await reconciler.approve((await reconciler.plan()).hash);
    await beat(2);
    await reconciler.reconcile();
    await clock.advance(1_000);
    const report = await reconciler.reconcile();
    expect([...actionsOf(report), ...heldOf(report)]).toEqual([]);
    expect(conditionsOf(report)).toEqual({ Converged: "AsDesired" });
  });
});
