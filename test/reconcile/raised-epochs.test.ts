import { EvenkeelError, type ReconcilerOptions, type ShardGate } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type FaultPlan, ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { ApplyRequest, Fence } from "../../src/store.ts";
import { actionsOf, deferred, eventsOf, fakeLeader, heldOf, settle, writesIn } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const CALL = { timeoutMs: 1_000 };

/** A division that a test gives and takes: `web-3` is of shard 3. */
function fakeDivision(epochs: Record<number, number> = {}) {
  const held = new Map(Object.entries(epochs).map(([shard, epoch]) => [Number(shard), epoch]));
  const listeners = new Set<() => void>();
  const shardOf = (id: string): number => Number(id.split("-").at(-1));
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  return {
    owns: (id: string) => held.has(shardOf(id)),
    epochOf: (id: string) => held.get(shardOf(id)),
    shardOf,
    held: () => Array.from(held, ([shard, epoch]) => ({ shard, epoch })),
    onChange: (listener: () => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    give(shard: number, epoch: number) {
      held.set(shard, epoch);
      changed();
    },
    take(shard: number) {
      held.delete(shard);
      changed();
    },
    listeners,
  } satisfies ShardGate & Record<string, unknown>;
}

/** With what reached the ledger: `0 [shard 1 = 5] create web-1`. */
function setUp(options: Partial<ReconcilerOptions>, plan: FaultPlan = {}) {
  const sent: string[] = [];
  const onCall: FaultPlan["onCall"] = ({ operation, request }) => {
    if (operation === "resources.apply") sent.push(shortOf(request as ApplyRequest));
  };
  return { ...setUpReconciler(options, { ...plan, onCall }), sent };
}

function shortOf({ epoch, fences = [], writes, status }: ApplyRequest): string {
  const named = fences.map((fence: Fence) => `${fence.name} = ${fence.epoch}`).join();
  const done = writes.map(({ kind, id }) => `${kind} ${id}`);
  return [`${epoch} [${named}]`, ...done, ...(status === undefined ? [] : ["status"])].join(" ");
}

const isRaise = (sent: string): boolean => !sent.endsWith("status") && sent.endsWith("]") && !sent.endsWith("[]");

describe("the epochs of shards", () => {
  it("are made known before the ledger is read, so that nothing of a former holder comes after", async () => {
    const shards = fakeDivision({ 0: 5, 1: 7 });
    const { reconciler, ledger, sent, storeCalls, store } = setUp({ shards });
    await ledger.setDesired(2);
    storeCalls.length = 0;
    await reconciler.reconcile();
    expect(sent[0]).toBe("0 [shard 0 = 5,shard 1 = 7]");
    expect(storeCalls[0]).toBe("resources.apply");
    for (const [name, epoch] of [
      ["shard 0", 4],
      ["shard 1", 6],
    ] as const) {
      const request = { group: "web", epoch: 0, writes: [], fences: [{ name, epoch }] };
      expect(await store.resources.apply(request, CALL)).toMatchObject({ fences: [{ name, epoch: epoch + 1 }] });
    }
  });

  it("cost no store call at rest, and one when a shard has come, or has come back", async () => {
    const shards = fakeDivision({ 0: 1, 1: 1 });
    const { reconciler, ledger, sent } = setUp({ shards });
    await ledger.setDesired(2);
    await reconciler.reconcile();
    sent.length = 0;
    for (let pass = 0; pass < 5; pass += 1) await reconciler.reconcile();
    expect(sent).toEqual([]);
    shards.give(2, 9);
    await reconciler.reconcile();
    expect(sent).toEqual(["0 [shard 2 = 9]"]);
    shards.take(0);
    await reconciler.reconcile();
    shards.give(0, 3);
    await reconciler.reconcile();
    await reconciler.reconcile();
    expect(sent).toEqual(["0 [shard 2 = 9]", "0 [shard 0 = 3]"]);
  });

  it("are made known anew where the store's answer was lost for good", async () => {
    let isDown = true;
    const shards = fakeDivision({ 0: 1 });
    const decide: FaultPlan["decide"] = ({ operation }) =>
      isDown && operation === "resources.apply" ? "lostRequest" : undefined;
    const { reconciler, ledger, clock, sent, fleet } = setUp({ shards }, { decide });
    await ledger.setDesired(1);
    const failed = reconciler.reconcile().catch((error: unknown) => error);
    await clock.advance(6_000);
    expect(await failed).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(fleet.calls).toEqual([]);
    isDown = false;
    sent.length = 0;
    await reconciler.reconcile();
    expect(sent[0]).toBe("0 [shard 0 = 1]");
    expect(fleet.ids()).toEqual(["web-0"]);
  });

  it("of a shard that comes while the pass looks are made known first, and its slots wait for the next", async () => {
    const shards = fakeDivision({ 0: 1 });
    const asked = deferred();
    const observe = async () => {
      await asked.promise;
      return [];
    };
    const { reconciler, ledger, clock, sent, fleet } = setUp({ shards, observe, allowEmpty: true });
    await ledger.setDesired(2);
    const reported = reconciler.reconcile();
    await settle(clock);
    shards.give(1, 4);
    asked.resolve();
    const report = await reported;
    expect(actionsOf(report)).toEqual(["create web-0/1"]);
    expect(heldOf(report)).toEqual(["create web-1: notOwner"]);
    expect(report.converged).toBe(false);
    expect(sent.filter((each) => each.includes("shard 1"))).toEqual([]);
    await reconciler.reconcile();
    expect(sent.filter((each) => each.includes("shard 1"))[0]).toBe("0 [shard 1 = 4]");
    expect(fleet.ids()).toEqual(["web-0", "web-1"]);
  });

  it("that came while the loop's pass looked are not waited for", async () => {
    const shards = fakeDivision({ 0: 1 });
    const asked = deferred();
    const observe = async () => {
      await asked.promise;
      return [];
    };
    const { reconciler, ledger, clock, fleet } = setUp({
      shards,
      observe,
      allowEmpty: true,
      resyncIntervalMs: 3_600_000,
    });
    await ledger.setDesired(2);
    reconciler.start();
    await settle(clock);
    shards.give(1, 4);
    asked.resolve();
    await settle(clock);
    expect(fleet.ids()).toEqual(["web-0", "web-1"]);
    await reconciler.stop();
  });

  it("are not told by those who only ask", async () => {
    const shards = fakeDivision({ 0: 1 });
    const { reconciler, ledger, storeCalls } = setUp({ shards });
    await ledger.setDesired(1);
    storeCalls.length = 0;
    expect(actionsOf(await reconciler.plan())).toEqual(["create web-0/1"]);
    await reconciler.status();
    await reconciler.explain("web-0");
    expect(writesIn(storeCalls)).toEqual([]);
  });

  it("are not told while it is paused, and are once it goes on", async () => {
    const shards = fakeDivision({ 0: 1 });
    const { reconciler, ledger, storeCalls, sent } = setUp({ shards });
    await ledger.setDesired(1);
    reconciler.pause();
    storeCalls.length = 0;
    await reconciler.reconcile();
    expect(writesIn(storeCalls)).toEqual([]);
    reconciler.resume();
    await reconciler.reconcile();
    expect(sent[0]).toBe("0 [shard 0 = 1]");
  });

  it("are told before an approved plan is carried out", async () => {
    const shards = fakeDivision({ 0: 1 });
    const { reconciler, ledger, sent } = setUp({ shards });
    await ledger.setDesired(1);
    const { hash } = await reconciler.plan();
    expect(sent).toEqual([]);
    await reconciler.approve(hash);
    expect(sent[0]).toBe("0 [shard 0 = 1]");
  });
});

describe("with a leader besides", () => {
  it("writes carry the leader's epoch for the group and the shard's for its part", async () => {
    const leader = fakeLeader(12);
    const shards = fakeDivision({ 0: 5, 1: 3 });
    const { reconciler, ledger, sent, events } = setUp({ shards, leader });
    await ledger.setDesired(1);
    await reconciler.reconcile();
    expect(sent.filter((each) => !each.endsWith("status"))).toEqual([
      "12 [shard 0 = 5,shard 1 = 3]",
      "12 [shard 0 = 5] create web-0",
      "12 [shard 0 = 5] update web-0",
    ]);
    expect(eventsOf(events, "action_finished")).toMatchObject([{ epoch: 12 }]);
  });

  it("who does not lead makes no epoch of a shard known", async () => {
    const leader = fakeLeader(12);
    const shards = fakeDivision({ 0: 5 });
    const { reconciler, ledger, storeCalls, sent } = setUp({ shards, leader });
    await ledger.setDesired(1);
    leader.lose();
    storeCalls.length = 0;
    expect(heldOf(await reconciler.reconcile())).toEqual(["create web-0: notLeader"]);
    expect(writesIn(storeCalls)).toEqual([]);
    leader.lead(13);
    await reconciler.reconcile();
    expect(sent[0]).toBe("13 [shard 0 = 5]");
  });

  it("a former leader makes none known, and is told that it is fenced", async () => {
    const leader = fakeLeader(12);
    const shards = fakeDivision({ 0: 5 });
    const { reconciler, ledger, store, fleet } = setUp({ shards, leader });
    await ledger.setDesired(1);
    await store.resources.apply({ group: "web", epoch: 13, writes: [] }, CALL);
    expect((await reconciler.reconcile()).actions).toMatchObject([{ id: "web-0", result: "fenced" }]);
    expect(fleet.calls).toEqual([]);
    const low = { group: "web", epoch: 13, writes: [], fences: [{ name: "shard 0", epoch: 1 }] };
    expect(await store.resources.apply(low, CALL)).not.toHaveProperty("fences");
  });

  it("the leader's is made known also where the fences of all shards that came can't be read", async () => {
    const leader = fakeLeader(12);
    const shards = fakeDivision({ 0: 5 });
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const { apply } = store.resources;
    const broken: typeof apply = async (request, call) => {
      if (request.fences !== undefined) throw new EvenkeelError("RECORD_CORRUPT", "The fence can't be read.");
      return apply(request, call);
    };
    const { reconciler } = setUpReconciler({
      ...{ shards, leader, clock },
      store: { ...store, resources: { ...store.resources, apply: broken } },
    });
    await reconciler.reconcile();
    expect((await store.resources.getDesired("web", CALL)).epoch).toBe(12);
  });
});

describe("a ledger that lost its last writes", () => {
  it("is told the leader's epoch again, also at rest", async () => {
    const clock = new ManualClock();
    let kept = memoryStore({ clock });
    const resources = new Proxy(kept.resources, {
      get: (_, name) => kept.resources[name as keyof typeof kept.resources],
    });
    const { reconciler } = setUpReconciler({ leader: fakeLeader(12), clock, store: { ...kept, resources } });
    await reconciler.reconcile();
    kept = memoryStore({ clock });
    await reconciler.reconcile();
    await reconciler.reconcile();
    expect((await kept.resources.getDesired("web", CALL)).epoch).toBe(12);
  });
});

describe("events and explanations", () => {
  it("carry the epoch of the slot's shard, where there is no leader", async () => {
    const shards = fakeDivision({ 0: 5, 1: 7 });
    const { reconciler, ledger, events } = setUp({ shards });
    await ledger.setDesired(2);
    await reconciler.reconcile();
    const told = eventsOf(events, "action_finished").map(({ id, epoch }) => `${id} ${epoch}`);
    expect(told.sort()).toEqual(["web-0 5", "web-1 7"]);
    expect((await reconciler.explain("web-1")).map(({ epoch }) => epoch)).toEqual([7, 7]);
    shards.take(1);
    expect((await reconciler.explain("web-1")).at(-1)).not.toHaveProperty("epoch");
  });
});

describe("a shard that another has got since", () => {
  it("has its writes refused and counted, and the others go on", async () => {
    const shards = fakeDivision({ 0: 5, 1: 7 });
    const { reconciler, ledger, store, fleet, sent } = setUp({ shards });
    await ledger.setDesired(2);
    await store.resources.apply({ group: "web", epoch: 0, writes: [], fences: [{ name: "shard 0", epoch: 6 }] }, CALL);
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ id, result }) => `${id} ${result}`).sort()).toEqual(["web-0 fenced", "web-1 done"]);
    expect(fleet.ids()).toEqual(["web-1"]);
    const fenced = reconciler.metrics().find(({ name }) => name === "reconciler_fenced_writes_total");
    expect(fenced).toMatchObject({ value: 1 });
    sent.length = 0;
    await reconciler.reconcile();
    expect(sent.filter(isRaise)).toEqual([]);
  });

  it("that can't be read keep only their own slots from being acted on", async () => {
    const shards = fakeDivision({ 0: 5, 1: 6, 2: 7, 3: 8 });
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const { apply } = store.resources;
    const broken: typeof apply = async (request, call) => {
      if (request.fences?.some(({ name }) => name === "shard 2"))
        throw new EvenkeelError("RECORD_CORRUPT", "The fence can't be read.");
      return apply(request, call);
    };
    const { reconciler, events } = setUpReconciler({
      shards,
      clock,
      store: { ...store, resources: { ...store.resources, apply: broken } },
    });
    await reconciler.setDesired(4);
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["create web-0/1", "create web-1/1", "create web-3/1"]);
    expect(heldOf(report)).toEqual(["create web-2: notOwner"]);
    expect(eventsOf(events, "pass_failed")).toMatchObject([{ error: { code: "RECORD_CORRUPT" } }]);
    expect(clock.pendingTimers).toBe(0);
  });
});
