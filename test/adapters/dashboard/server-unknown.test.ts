import { describe, expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { Reconciler, type ReconcilerOptions, ResourceLedger } from "../../../src/index.ts";
import { faultyStore, ManualClock, Partition } from "../../../src/testing/index.ts";
import { servedBoard } from "./server-board.ts";

const CALL = { timeoutMs: 60_000 };
const HOUR_MS = 3_600_000;

/** An election that is decided by whoever tests. */
function election() {
  const gate = { leads: false, isLeader: () => gate.leads, epoch: 1, signal: new AbortController().signal };
  return gate;
}

function web(options: Partial<ReconcilerOptions> & Pick<ReconcilerOptions, "store">): Reconciler {
  return new Reconciler({ name: "web", create: async () => {}, terminate: async () => {}, ...options });
}

describe("groups that are there, and could never be read", () => {
  it("are told by their names, and that nothing else of them is known", async () => {
    const inner = memoryStore();
    const faults = [{ on: "resources.getDesired", fault: "lostRequest" }] as const;
    const store = faultyStore(inner, { faults });
    const { server } = await servedBoard({ store, storeTimeoutMs: 50, reconcilers: [web({ store, name: "here" })] });
    await new ResourceLedger({ store: inner, group: "web" }).setDesired(3);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last?.groups?.map(({ name }) => name)).toEqual(["here", "web"]);
    expect(watching.last?.groups?.[1]).toEqual({ name: "web", isHere: false });
    expect(watching.last?.problems).toContainEqual({ of: "groups", group: "web", code: "STORE_UNAVAILABLE" });
    const late = server.watch();
    await expect.poll(() => late.hello[0]?.history["web"]?.[0]).toMatchObject({ desired: null, observed: null });
  });

  it("keep the hour before where it is not known any more which there are", async () => {
    const clock = new ManualClock();
    const network = new Partition();
    const inner = memoryStore({ clock });
    await new ResourceLedger({ store: inner, group: "web", clock }).setDesired(3);
    const { server } = await servedBoard({
      store: faultyStore(inner, { partition: network }),
      clock,
      intervalMs: 2_000,
    });
    const first = server.watch();
    await expect.poll(() => first.last?.groups).toHaveLength(1);
    first.leave();
    await expect.poll(() => first.isOver).toBe(true);
    // Nobody has watched for so long that the dashboard rests, and has forgotten all but the history.
    for (let minute = 0; minute < 6; minute += 1) await clock.advance(60_000);
    network.cut("both");
    const second = server.watch();
    await clock.advance(20_000);
    await expect.poll(() => second.last?.problems.length).toBeGreaterThan(0);
    expect(second.last?.groups).toBeUndefined();
    const third = server.watch();
    await expect.poll(() => third.hello[0]?.history["web"]?.[0]).toMatchObject({ desired: 3 });
  });
});

describe("what is desired", () => {
  it("is unknown where no pass has asked yet", async () => {
    const store = memoryStore();
    const reconciler = web({ store, desired: () => 7 });
    const { server } = await servedBoard({ store, reconcilers: [reconciler] });
    const watching = server.watch();
    await expect.poll(() => watching.last?.groups?.[0]).toBeDefined();
    expect(watching.last?.groups?.[0]).not.toHaveProperty("desired");
    await reconciler.reconcile();
    await expect.poll(() => watching.last?.groups?.[0]?.desired).toBe(7);
  });

  it("is what the ledger has of it where it could not be asked", async () => {
    const store = memoryStore();
    await web({ store, desired: () => 7 }).reconcile();
    const reconciler = web({ store, desired: () => Promise.reject(new Error("away")) });
    await reconciler.reconcile();
    const { server } = await servedBoard({ store, reconcilers: [reconciler] });
    const watching = server.watch();
    await expect.poll(() => watching.last?.groups?.[0]).toMatchObject({ generation: 1, desired: 7, converged: false });
  });

  it("and whether that is reached is what the leader said of it where another copy leads", async () => {
    const store = memoryStore();
    await web({ store, desired: () => 7 }).reconcile();
    const follower = web({ store, desired: () => 5, leader: election() });
    const { server } = await servedBoard({ store, reconcilers: [follower] });
    const watching = server.watch();
    await expect
      .poll(() => watching.last?.groups?.[0])
      .toMatchObject({ generation: 1, observedGeneration: 1, desired: 7, converged: true, leader: false });
  });
});

describe("what is held", () => {
  it("is unknown before the first pass, and where another copy leads", async () => {
    const store = memoryStore();
    const leader = election();
    const reconciler = web({ store, leader });
    await reconciler.setDesired(2);
    reconciler.pause();
    const { server } = await servedBoard({ store, reconcilers: [reconciler] });
    const watching = server.watch();
    const held = () => {
      const [group] = watching.last?.groups ?? [];
      return group && { leads: group.leader, total: group.heldTotal, list: group.held?.length };
    };
    await expect.poll(held).toEqual({ leads: false });
    leader.leads = true;
    await reconciler.reconcile();
    await expect.poll(held).toEqual({ leads: true, total: 2, list: 2 });
    leader.leads = false;
    await expect.poll(held).toEqual({ leads: false });
    expect(watching.last?.groups?.[0]?.lastPassAt).toBe(reconciler.lastPass()?.at);
  });

  it("is of the copy that leads also while the ledger does not answer", async () => {
    const network = new Partition();
    const inner = memoryStore();
    const leader = election();
    const failing = faultyStore(inner, { partition: network });
    const reconciler = web({ store: failing, leader, storeTimeoutMs: 1_000 });
    await reconciler.setDesired(2);
    leader.leads = true;
    reconciler.pause();
    expect((await reconciler.reconcile()).held).toHaveLength(2);
    leader.leads = false;
    const { server } = await servedBoard({ store: inner, reconcilers: [reconciler] });
    const watching = server.watch();
    await expect.poll(() => watching.last?.groups?.[0]?.leader).toBe(false);
    network.cut("both");
    await expect.poll(() => watching.last?.problems).toHaveLength(1);
    expect(watching.last?.groups?.[0]).toMatchObject({ isHere: true, leader: false, paused: true, desired: 2 });
    expect(watching.last?.groups?.[0]).not.toHaveProperty("held");
  });
});

describe.each([HOUR_MS, -HOUR_MS])("by a store whose clock is %i ms ahead", (aheadMs) => {
  it.each(["completed", "abandoned"] as const)(
    "the age of an execution that is %s is that of its clock",
    async (status) => {
      const clock = new ManualClock();
      const stores = new ManualClock(clock.now() + aheadMs);
      const store = memoryStore({ clock: stores });
      const id = "a".repeat(64);
      const claim = { id, operation: "pay", scope: "", nonce: "n", leaseMs: 1_000, retentionMs: HOUR_MS } as const;
      const claimed = await store.executions.claim({ ...claim, onAbandoned: "report" }, CALL);
      if (claimed.status !== "acquired") throw new Error(claimed.status);
      const holder = { id, token: claimed.token, nonce: "n" };
      const outcome = { kind: "value", bytes: new Uint8Array() } as const;
      if (status === "completed") await store.executions.complete({ ...holder, outcome, retentionMs: HOUR_MS }, CALL);
      await stores.advance(7_000);
      const { server } = await servedBoard({ store, clock });
      const watching = server.watch();
      await expect.poll(() => watching.updates.length).toBeGreaterThan(0);
      const [execution] = watching.updates[0]?.executions?.recent ?? [];
      expect(execution).toMatchObject({ status, createdAt: clock.now() - 7_000 });
      if (status === "abandoned") expect(execution?.leaseExpiredAt).toBe(clock.now() - 6_000);
    },
  );
});
