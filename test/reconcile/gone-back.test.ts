import { type LedgerStore, Reconciler, type ReconcilerOptions, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { hasGoneBack } from "../../src/reconcile/gone-back.ts";
import type { ResourceRow, ResourceStore } from "../../src/store.ts";
import { actionsOf, fakeLeader, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const CALL = { timeoutMs: 1_000 };
const WRITES: ReadonlySet<string> = new Set(["apply", "setDesired", "heartbeat", "purge"]);

/** A ledger with a copy, which gets all that is written until it is cut off, and takes its place. */
function replicatedStore(clock: ManualClock) {
  const copy = memoryStore({ clock });
  const primary = memoryStore({ clock });
  let serving: LedgerStore = primary;
  let isReplicated = true;
  const asked: string[] = [];
  const resources = new Proxy(primary.resources, {
    get(_, name: keyof ResourceStore) {
      return async (...parameters: unknown[]) => {
        asked.push(name);
        const send = (store: LedgerStore) =>
          (store.resources[name] as (...parameters: unknown[]) => Promise<unknown>)(...parameters);
        if (isReplicated && WRITES.has(name)) await send(copy);
        return send(serving);
      };
    },
  });
  return {
    store: { ...primary, resources } satisfies LedgerStore,
    asked,
    cutOff: () => {
      isReplicated = false;
    },
    failOver: () => {
      isReplicated = false;
      serving = copy;
    },
  };
}

function setUp(options: Partial<ReconcilerOptions> = {}) {
  const clock = new ManualClock();
  const replicated = replicatedStore(clock);
  const set = setUpReconciler({ clock, store: replicated.store, ...options });
  const ledger = new ResourceLedger({ store: replicated.store, group: "web", clock });
  const beat = async (...ids: string[]) => {
    for (const id of ids) await ledger.heartbeat(id);
  };
  /** Others write as much as was lost, so that the numbers of writes tell nothing. */
  const provisionOthers = async (count: number): Promise<string[]> => {
    const ids = Array.from({ length: count }, (_, index) => `other-${index}`);
    for (const id of ids) await ledger.provision(id, { create: async () => undefined });
    return ids;
  };
  return { ...set, ...replicated, clock, ledger, beat, provisionOthers };
}

describe("after the ledger lost its last writes, and others have written since", () => {
  it("a resource that fell silent is replaced, though it had been before", async () => {
    const { reconciler, ledger, clock, beat, cutOff, failOver, provisionOthers, fleet } = setUp({ massGuard: false });
    await ledger.setDesired([{ id: "a" }, { id: "b" }]);
    await reconciler.reconcile();
    await beat("a", "b");
    cutOff();
    await clock.advance(30_001);
    await beat("b");
    await reconciler.reconcile();
    await reconciler.reconcile();
    expect(await ledger.get("a")).toMatchObject({ incarnation: 2, state: "PROVISIONED" });
    failOver();
    expect(await ledger.get("a")).toMatchObject({ incarnation: 1, state: "PROVISIONED" });
    const others = await provisionOthers(6);
    await ledger.setDesired(["a", "b", ...others].map((id) => ({ id })));
    await beat("b", ...others);
    fleet.calls.length = 0;
    await reconciler.reconcile();
    expect(fleet.calls).toContain("create a/2");
    expect(await ledger.get("a")).toMatchObject({ incarnation: 2, state: "PROVISIONED" });
  });

  it("a resource whose row is gone gets it anew", async () => {
    const { reconciler, ledger, cutOff, failOver, provisionOthers } = setUp();
    await ledger.setDesired(2);
    await reconciler.reconcile();
    cutOff();
    await ledger.setDesired(3);
    await reconciler.reconcile();
    failOver();
    expect(await ledger.get("web-2")).toBeUndefined();
    const others = await provisionOthers(6);
    await ledger.setDesired(["web-0", "web-1", "web-2", ...others].map((id) => ({ id })));
    expect(actionsOf(await reconciler.reconcile())).toEqual(["create web-2/1"]);
    expect(await ledger.get("web-2")).toMatchObject({ state: "PROVISIONED" });
  });

  it("all rows are read once, and at rest it costs what it cost before", async () => {
    const { reconciler, ledger, cutOff, failOver, provisionOthers, asked } = setUp();
    await ledger.setDesired(2);
    await reconciler.reconcile();
    await reconciler.reconcile();
    const passCalls = async () => {
      asked.length = 0;
      await reconciler.reconcile();
      return [...asked];
    };
    const before = await passCalls();
    cutOff();
    await ledger.setDesired(3);
    await reconciler.reconcile();
    failOver();
    const others = await provisionOthers(6);
    await ledger.setDesired(["web-0", "web-1", "web-2", ...others].map((id) => ({ id })));
    await reconciler.reconcile();
    for (let pass = 0; pass < 3; pass += 1) expect(await passCalls()).toEqual(before);
  });
});

describe("what was terminated and purged unseen", () => {
  it("is made anew by who leads again after hours, and wants it", async () => {
    const leader = fakeLeader(1);
    const { reconciler, ledger, clock, store, fleet } = setUp({ leader });
    await ledger.setDesired(3);
    await reconciler.reconcile();
    leader.lose();
    const other = fakeLeader(2);
    const successor = new Reconciler({ name: "web", store, clock, leader: other, ...fleet.callbacks });
    await ledger.setDesired(2);
    await successor.reconcile();
    await clock.advance(3_600_000);
    for (const id of ["web-0", "web-1"]) await ledger.heartbeat(id);
    await successor.reconcile();
    expect(await ledger.get("web-2")).toBeUndefined();
    other.lose();
    await ledger.setDesired(3);
    leader.lead(3);
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "create", id: "web-2", result: "done" }]);
    expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2"]);
  });

  it("before its hour was over is made anew as soon as it is wanted again", async () => {
    const { reconciler, ledger, clock, store, fleet, beat } = setUp();
    await ledger.setDesired(3);
    await reconciler.reconcile();
    await ledger.setDesired(2);
    await reconciler.reconcile();
    await clock.advance(20_000);
    await beat("web-0", "web-1");
    expect(await store.resources.purge({ group: "web", ageMs: 10_000, limit: 10 }, CALL)).toEqual({ purged: 1 });
    await ledger.setDesired(3);
    const first = await reconciler.reconcile();
    expect(first.converged).toBe(false);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2"]);
  });

  it("is made by a loop without a resync", async () => {
    const { reconciler, ledger, clock, store, fleet, beat } = setUp({ resyncIntervalMs: 3_600_000 });
    await ledger.setDesired(3);
    reconciler.start();
    await settle(clock);
    await ledger.setDesired(2);
    reconciler.wake();
    await clock.advance(20_000);
    await beat("web-0", "web-1");
    await store.resources.purge({ group: "web", ageMs: 10_000, limit: 10 }, CALL);
    await ledger.setDesired(3);
    reconciler.wake();
    await clock.advance(5_000);
    expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2"]);
    await reconciler.stop();
  });
});

describe("the row that was known last", () => {
  const known: ResourceRow = {
    group: "web",
    id: "a",
    incarnation: 1,
    state: "PROVISIONED",
    generation: 1,
    attempt: 0,
    fencingToken: 1,
    createdAt: 1_000,
    stateChangedAt: 1_000,
    version: 3,
    readAt: 1_000,
  };

  it("is as it was, or later, or a tombstone that was purged, in a ledger that lost nothing", () => {
    expect(hasGoneBack(known, { ...known, readAt: 2_000, lastHeartbeatAt: 1_500 })).toBe(false);
    expect(hasGoneBack(known, { ...known, version: 4, state: "FAILED", stateChangedAt: 2_000 })).toBe(false);
    expect(hasGoneBack({ ...known, state: "TERMINATED" }, undefined)).toBe(false);
  });

  it("is earlier, gone, or another of its version, in one that lost writes", () => {
    expect(hasGoneBack(known, { ...known, version: 2 })).toBe(true);
    expect(hasGoneBack(known, undefined)).toBe(true);
    expect(hasGoneBack(known, { ...known, state: "FAILED" })).toBe(true);
    expect(hasGoneBack(known, { ...known, stateChangedAt: 1_001 })).toBe(true);
  });
});
