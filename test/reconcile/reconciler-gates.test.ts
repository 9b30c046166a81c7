import { Reconciler, type ReconcilerOptions } from "evenkeel";
import type { FaultPlan } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, deferred, fakeLeader, heldOf, settle, writesIn } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

function setUpLed(epoch: number, options: Partial<ReconcilerOptions> = {}) {
  const leader = fakeLeader(epoch);
  return { leader, ...setUpReconciler({ leader, ...options }) };
}

function fencedWritesOf(reconciler: Reconciler): number | undefined {
  const sample = reconciler.metrics().find(({ name }) => name === "reconciler_fenced_writes_total");
  return sample !== undefined && "value" in sample ? sample.value : undefined;
}

describe("who does not lead", () => {
  it("looks and reports, and writes nothing", async () => {
    const { reconciler, leader, fleet, storeCalls } = setUpLed(1, { desired: () => 2 });
    leader.lose();
    const report = await reconciler.reconcile();
    expect(heldOf(report)).toEqual(["create web-0: notLeader", "create web-1: notLeader"]);
    expect(conditionsOf(report).NotLeader).toBe("NotLeader");
    expect(writesIn(storeCalls)).toEqual([]);
    expect(fleet.calls).toEqual([]);
    expect(await reconciler.status()).toMatchObject({ leader: false, converged: false });
  });

  it("begins in the loop within a second of being elected, and stops with the leadership", async () => {
    const { reconciler, leader, fleet, clock, storeCalls, ledger } = setUpLed(1, { resyncIntervalMs: 3_600_000 });
    leader.lose();
    await ledger.setDesired(2);
    storeCalls.length = 0;
    reconciler.start();
    await clock.advance(10_000);
    expect(storeCalls).toEqual([]);
    leader.lead(2);
    await clock.advance(1_000);
    expect(fleet.ids()).toHaveLength(2);
    expect(await reconciler.status()).toMatchObject({ leader: true, converged: true });
    leader.lose();
    await ledger.setDesired(5);
    reconciler.wake();
    await clock.advance(10_000);
    expect(fleet.ids()).toHaveLength(2);
    await reconciler.stop();
  });

  it("declares nobody dead for staleAfterMs after an election", async () => {
    const { reconciler, leader, clock, ledger } = setUpLed(1, { resyncIntervalMs: 3_600_000 });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    leader.lose();
    await clock.advance(3_600_000);
    leader.lead(3);
    await clock.advance(29_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(3_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });
});

describe("a leadership that is about to be given up", () => {
  it("begins nothing in the loop any more, and the next one is looked for within a second", async () => {
    const { reconciler, leader, clock, ledger, fleet, store, storeCalls } = setUpLed(1, {
      resyncIntervalMs: 3_600_000,
    });
    await ledger.setDesired(1);
    reconciler.start();
    await settle(clock);
    leader.drain();
    await settle(clock);
    await ledger.setDesired(2);
    storeCalls.length = 0;
    await clock.advance(10_000);
    expect(storeCalls).toEqual([]);
    leader.lead(4);
    await clock.advance(1_000);
    expect(fleet.ids()).toHaveLength(2);
    expect((await store.resources.getDesired("web", { timeoutMs: 1_000 })).epoch).toBe(4);
    await reconciler.stop();
  });
});

describe("a leadership that begins while the loop's pass waits for another", () => {
  it("declares nobody dead for staleAfterMs", async () => {
    let asked = deferred();
    asked.resolve();
    const { reconciler, leader, clock, ledger } = setUpLed(1, {
      resyncIntervalMs: 3_600_000,
      actionTimeoutMs: 3_600_000,
      desired: async () => {
        await asked.promise;
        return 1;
      },
    });
    reconciler.start();
    await settle(clock);
    await ledger.heartbeat("web-0");
    asked = deferred();
    const byHand = reconciler.reconcile();
    reconciler.wake();
    await settle(clock);
    leader.lose();
    await clock.advance(60_000);
    leader.lead(3);
    asked.resolve();
    await byHand;
    await settle(clock);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(31_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });
});

describe("a leadership that ends in the middle of a pass", () => {
  it("ends its callbacks, and writes nothing more", async () => {
    const gate = deferred();
    const signals: AbortSignal[] = [];
    const { reconciler, leader, clock, storeCalls, ledger } = setUpLed(1, {
      create: async (_, { signal }) => {
        signals.push(signal);
        await gate.promise;
      },
    });
    await reconciler.setDesired(3);
    const reported = reconciler.reconcile();
    await settle(clock);
    storeCalls.length = 0;
    leader.lose();
    expect(signals[0]?.aborted).toBe(true);
    gate.resolve();
    const report = await reported;
    expect(report.actions.every(({ result }) => result !== "done")).toBe(true);
    expect(report.converged).toBe(false);
    expect(writesIn(storeCalls)).toEqual([]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
  });

  it("ends the pass for good, also where it leads again before its callbacks have answered", async () => {
    const asked = deferred();
    let wanted = 6;
    const { reconciler, leader, clock, storeCalls, fleet } = setUpLed(1, {
      desired: async () => {
        const answer = wanted;
        await asked.promise;
        return answer;
      },
    });
    const reported = reconciler.reconcile();
    await settle(clock);
    leader.lose();
    wanted = 3;
    leader.lead(3);
    storeCalls.length = 0;
    asked.resolve();
    const report = await reported;
    expect(report.actions).toEqual([]);
    expect(new Set(report.held.map(({ heldBy }) => heldBy))).toEqual(new Set(["notLeader"]));
    expect(writesIn(storeCalls)).toEqual([]);
    await reconciler.reconcile();
    expect(fleet.ids()).toHaveLength(3);
  });

  it("is not waited for in the loop: what comes next is looked at within a second, whenever the resync is", async () => {
    const { reconciler, leader, clock, ledger, fleet, store } = setUpLed(1, { resyncIntervalMs: 3_600_000 });
    await ledger.setDesired(1);
    reconciler.start();
    await settle(clock);
    expect(fleet.ids()).toHaveLength(1);
    leader.lose();
    await ledger.setDesired(2);
    await clock.advance(10_000);
    expect(fleet.ids()).toHaveLength(1);
    leader.lead(4);
    await clock.advance(1_000);
    expect(fleet.ids()).toHaveLength(2);
    expect((await store.resources.getDesired("web", { timeoutMs: 1_000 })).epoch).toBe(4);
    await reconciler.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("is fenced where its callback had returned already", async () => {
    const fleet = fakeFleet();
    const { reconciler, leader, ledger } = setUpLed(1, {
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        const made = await fleet.callbacks.create(resource, ctx);
        leader.lead(2);
        leader.lose();
        return made;
      },
    });
    await reconciler.setDesired(1);
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "create", id: "web-0", result: "fenced" }]);
    expect(conditionsOf(report).Fenced).toBe("LaterEpoch");
    expect(fencedWritesOf(reconciler)).toBe(1);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
  });
});

describe("the epoch", () => {
  it("is made known before the ledger is read, once a leadership, also where there is nothing else to write", async () => {
    const { reconciler, leader, store, storeCalls } = setUpLed(5);
    const known = async () => (await store.resources.getDesired("web", { timeoutMs: 1_000 })).epoch;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    leader.lead(7);
    storeCalls.length = 0;
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(storeCalls[0]).toBe("resources.apply");
    expect(writesIn(storeCalls)).toEqual(["resources.apply"]);
    expect(await known()).toBe(7);
    storeCalls.length = 0;
    for (let pass = 0; pass < 5; pass += 1) await reconciler.reconcile();
    expect(writesIn(storeCalls)).toEqual([]);
  });

  it("is made known by the next pass where the answer was lost for good", async () => {
    let isDown = true;
    const leader = fakeLeader(5);
    const decide: FaultPlan["decide"] = ({ operation }) =>
      isDown && operation === "resources.apply" ? "lostRequest" : undefined;
    const { reconciler, store, clock } = setUpReconciler({ leader }, { decide });
    await reconciler.setDesired(0);
    const failed = reconciler.reconcile().catch((error: unknown) => error);
    await clock.advance(6_000);
    expect(await failed).toMatchObject({ code: "STORE_UNAVAILABLE" });
    isDown = false;
    await reconciler.reconcile();
    expect((await store.resources.getDesired("web", { timeoutMs: 1_000 })).epoch).toBe(5);
  });

  it("is not told by who only asks, or is paused", async () => {
    const { reconciler, storeCalls } = setUpLed(5);
    await reconciler.setDesired(1);
    storeCalls.length = 0;
    await reconciler.plan();
    await reconciler.status();
    await reconciler.explain("web-0");
    reconciler.pause();
    await reconciler.reconcile();
    expect(writesIn(storeCalls)).toEqual([]);
  });

  it("is on every write, and a later one fences all of them", async () => {
    const { reconciler, store, ledger, clock } = setUpLed(5);
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    expect((await store.resources.getDesired("web", { timeoutMs: 1_000 })).epoch).toBe(5);
    // Another leads since, and this one has not heard of it.
    const other = new Reconciler({
      name: "web",
      store,
      clock,
      leader: fakeLeader(6),
      create: async () => {},
      terminate: async () => {},
    });
    await other.reconcile();
    await ledger.setDesired(3);
    await other.reconcile();
    await ledger.setDesired(4);
    const before = await ledger.get("web-3");
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "create", id: "web-3", result: "fenced" }]);
    expect(conditionsOf(report).Fenced).toBe("LaterEpoch");
    expect(fencedWritesOf(reconciler)).toBe(1);
    expect(await ledger.get("web-3")).toEqual(before);
    const [explained] = (await reconciler.explain("web-3")).filter(({ outcome }) => outcome === "fenced");
    expect(explained).toMatchObject({ action: "create", epoch: 5 });
  });

  it("that is too low keeps an answer of desired out of the ledger, and nothing is done", async () => {
    const { reconciler, store, fleet, ledger } = setUpLed(5, { desired: () => 2 });
    await store.resources.apply({ group: "web", epoch: 6, writes: [] }, { timeoutMs: 1_000 });
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(conditionsOf(report).Fenced).toBe("LaterEpoch");
    // That it leads, and what is desired.
    expect(fencedWritesOf(reconciler)).toBe(2);
    expect(fleet.calls).toEqual([]);
    expect((await ledger.desired()).generation).toBe(0);
  });

  it("that is too low is told at rest, too, in each pass, until the ledger takes it", async () => {
    const { reconciler, store, leader } = setUpLed(5);
    await reconciler.setDesired(0);
    await store.resources.apply({ group: "web", epoch: 6, writes: [] }, { timeoutMs: 1_000 });
    for (let pass = 1; pass <= 3; pass += 1) {
      expect(conditionsOf(await reconciler.reconcile()).Fenced).toBe("LaterEpoch");
      expect(fencedWritesOf(reconciler)).toBe(pass);
    }
    expect(conditionsOf(await reconciler.status()).Fenced).toBe("LaterEpoch");
    leader.lose();
    leader.lead(7);
    expect(conditionsOf(await reconciler.reconcile())).toEqual({ Converged: "AsDesired" });
    expect(fencedWritesOf(reconciler)).toBe(3);
  });

  it("keeps a fenced loop from turning fast", async () => {
    const { reconciler, store, clock, storeCalls } = setUpLed(5);
    await reconciler.setDesired(2);
    await store.resources.apply({ group: "web", epoch: 6, writes: [] }, { timeoutMs: 1_000 });
    storeCalls.length = 0;
    reconciler.start();
    await clock.advance(60_000);
    expect(storeCalls.length).toBeLessThan(300);
    await reconciler.stop();
  });
});

describe("shards", () => {
  it("act on their own slots alone, and call the group converged once the others are as desired, too", async () => {
    const owned = new Set(["web-0", "web-2"]);
    const shards = { owns: (id: string) => owned.has(id), epochOf: () => 1 };
    const { reconciler, fleet } = setUpReconciler({ shards });
    await reconciler.setDesired(4);
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["create web-0/1", "create web-2/1"]);
    expect(heldOf(report)).toEqual(["create web-1: notOwner", "create web-3: notOwner"]);
    expect(report.converged).toBe(false);
    owned.add("web-1");
    reconciler.wake();
    expect((await reconciler.reconcile()).converged).toBe(false);
    expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2"]);
    owned.add("web-3");
    reconciler.wake();
    await reconciler.reconcile();
    expect((await reconciler.reconcile()).converged).toBe(true);
  });

  it("that are lost in the middle of a create keep it from being recorded", async () => {
    const owned = new Set(["web-0"]);
    const { reconciler, ledger } = setUpReconciler({
      shards: { owns: (id) => owned.has(id), epochOf: () => 1 },
      create: async () => void owned.clear(),
    });
    await reconciler.setDesired(1);
    expect((await reconciler.reconcile()).actions).toMatchObject([{ result: "fenced" }]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
  });
});
