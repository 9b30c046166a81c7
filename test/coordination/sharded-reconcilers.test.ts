import type { ReconcilerOptions } from "evenkeel";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { LeaderElector } from "../../src/coordination/leader-elector.ts";
import type { ApplyRequest } from "../../src/store.ts";
import { eventsOf } from "../reconcile/reconciler-kit.ts";
import { deferred } from "./set-up.ts";
import { fatesOf, LEDGERS, setUpSharded } from "./sharded-set-up.ts";

const FENCED = "reconciler_fenced_writes_total";
const writesA =
  (state: string) =>
  ({ writes }: ApplyRequest) =>
    writes.some((write) => write.state === state);

describe.each(LEDGERS)("a member that was suspended between its decision and the write, %s", (_, open) => {
  it("completes no creation: the write is refused and reported, and the next holder goes on with the same key", async () => {
    const { clock, node, resources, actions, row, divide, untilItOwns, stopAll } = setUpSharded({ open });
    const [first, second] = [node("a"), node("b")];
    await divide(first);
    await resources.setDesired(1);
    const late = first.holdBack(writesA("PROVISIONED"));
    const reported = first.reconciler.reconcile();
    await clock.advance(0);
    await late.held;
    first.clock.freeze();
    second.coordinator.start();
    await untilItOwns(second, "web-0");
    // It only looks: the row is still held.
    expect((await second.reconciler.reconcile()).actions).toEqual([]);
    const before = await row("web-0");
    expect(before).toMatchObject({ state: "PENDING", version: 1 });

    late.release();
    await clock.advance(0);
    expect(first.arrivals().map(fatesOf).at(-1)).toEqual([
      `update web-0 PROVISIONED shard ${first.coordinator.shardOf("web-0")}: fenced`,
    ]);
    expect(await row("web-0")).toEqual({ ...before, readAt: clock.now() });
    first.clock.thaw();
    await clock.advance(0);
    expect((await reported).actions).toMatchObject([{ type: "create", id: "web-0", result: "fenced" }]);
    expect(first.counted(FENCED)).toBe(1);
    expect(first.counted("reconciler_actions_total", { action: "create", result: "fenced" })).toBe(1);

    await clock.advance(30_000);
    expect((await second.reconciler.reconcile()).converged).toBe(true);
    expect(actions.map(({ by, what }) => `${by} ${what}`)).toEqual(["a create web-0/1", "b create web-0/1"]);
    expect(new Set(actions.map(({ key }) => key)).size).toBe(1);
    expect(await row("web-0")).toMatchObject({ state: "PROVISIONED", incarnation: 1 });
    expect(second.counted(FENCED)).toBe(0);
    await stopAll();
  });

  it("makes no row, also of slots that the next holder has not written yet", async () => {
    const { clock, node, resources, actions, row, divide, untilItOwns, stopAll } = setUpSharded({ open });
    const first = node("a");
    const second = node("b", { reconciler: { maxActionsPerPass: 1 } });
    await divide(first);
    await resources.setDesired(3);
    // The slots are of three shards.
    expect(new Set([0, 1, 2].map((n) => first.coordinator.shardOf(`web-${n}`))).size).toBe(3);
    const late = first.holdBack(writesA("PENDING"));
    const reported = first.reconciler.reconcile();
    await clock.advance(0);
    await late.held;
    first.clock.freeze();
    second.coordinator.start();
    for (const id of ["web-0", "web-1", "web-2"]) await untilItOwns(second, id);
    expect((await second.reconciler.reconcile()).actions).toMatchObject([{ id: "web-0", result: "done" }]);
    const made = await row("web-0");

    late.release();
    await clock.advance(0);
    const fates = first.arrivals().flatMap(fatesOf);
    expect(fates.length).toBeGreaterThan(0);
    expect(fates.filter((fate) => !fate.endsWith(": fenced"))).toEqual([]);
    expect(await row("web-0")).toEqual({ ...made, readAt: clock.now() });
    expect(await row("web-1")).toBeUndefined();
    first.clock.thaw();
    await clock.advance(0);
    const { actions: reportedActions } = await reported;
    expect(reportedActions.length).toBeGreaterThan(0);
    expect(reportedActions.every(({ result }) => result === "fenced")).toBe(true);
    expect(first.counted(FENCED)).toBe(reportedActions.length);

    for (let pass = 0; pass < 2; pass += 1) await second.reconciler.reconcile();
    expect((await second.reconciler.reconcile()).converged).toBe(true);
    expect(actions.map(({ by, what }) => `${by} ${what}`)).toEqual([
      "b create web-0/1",
      "b create web-1/1",
      "b create web-2/1",
    ]);
    await stopAll();
  });

  it("renews no row that it holds", async () => {
    const { clock, node, resources, row, divide, untilItOwns, stopAll } = setUpSharded({ open });
    const gate = deferred();
    const first = node("a", { reconciler: { create: () => gate.promise, actionTimeoutMs: 60_000 } });
    const second = node("b");
    await divide(first);
    await resources.setDesired(1);
    const late = first.holdBack(({ writes }) => writes.some(({ lease }) => lease?.token === "keep"));
    const reported = first.reconciler.reconcile();
    await clock.advance(20_000);
    await late.held;
    first.clock.freeze();
    second.coordinator.start();
    await untilItOwns(second, "web-0");
    await second.reconciler.reconcile();
    const before = await row("web-0");
    late.release();
    await clock.advance(0);
    expect(await row("web-0")).toEqual({ ...before, readAt: clock.now() });
    first.clock.thaw();
    gate.resolve();
    await clock.advance(0);
    expect((await reported).actions).toMatchObject([{ type: "create", result: "fenced" }]);
    await stopAll();
  });
});

describe("a planned move", () => {
  it.each([
    ["a moment", 3_000],
    ["several renewals of its row", 100_000],
  ])("waits for a create that takes %s, which is recorded and not called again", async (_, createMs) => {
    const { clock, node, idAt, resources, actions, arrivals, row, divide, stopAll } = setUpSharded();
    const gate = deferred();
    const first = node("a", { reconciler: { create: () => gate.promise, actionTimeoutMs: 120_000 } });
    const second = node("b", { reconciler: { actionTimeoutMs: 120_000 } });
    await divide(first);
    const id = idAt("b", "a", "b");
    await resources.setDesired([{ id }]);
    first.reconciler.start();
    await clock.advance(0);
    second.coordinator.start();
    second.reconciler.start();
    await clock.advance(createMs);
    expect(first.coordinator.owns(id)).toBe(false);
    expect(second.coordinator.owns(id)).toBe(false);
    expect(await row(id)).toMatchObject({ state: "PENDING" });
    gate.resolve();
    await clock.advance(10_000);
    expect(second.coordinator.owns(id)).toBe(true);
    expect(await row(id)).toMatchObject({ state: "PROVISIONED", incarnation: 1 });
    expect(actions.map(({ by, what }) => `${by} ${what}`)).toEqual([`a create ${id}/1`]);
    expect(arrivals.flatMap(fatesOf).filter((fate) => !fate.endsWith(": applied"))).toEqual([]);
    for (const { counted } of [first, second]) expect(counted(FENCED)).toBe(0);
    expect((await second.reconciler.status()).converged).toBe(true);
    // Also what is told of it, as it is no longer ours.
    expect(eventsOf(first.events, "action_finished")).toMatchObject([
      { id, result: "done", epoch: expect.any(Number) },
    ]);
    expect((await first.reconciler.explain(id)).find(({ outcome }) => outcome === "done")).toHaveProperty("epoch");
    await stopAll();
  });
});

describe("a member that lost its shards while a create ran", () => {
  it.each([
    ["its event loop was held up", "freeze"],
    ["its network was cut", "cut"],
  ] as const)("sends nothing of it and reports it fenced: %s", async (_, how) => {
    const { clock, node, resources, actions, row, divide, untilItOwns, stopAll } = setUpSharded();
    const gate = deferred();
    const first = node("a", { reconciler: { create: () => gate.promise, actionTimeoutMs: 60_000 } });
    const second = node("b", { reconciler: { actionTimeoutMs: 60_000 } });
    await divide(first);
    await resources.setDesired(1);
    const reported = first.reconciler.reconcile();
    await clock.advance(0);
    const sent = first.calls.count("resources.apply");
    if (how === "freeze") first.clock.freeze();
    else first.network.cut("both");
    second.coordinator.start();
    await untilItOwns(second, "web-0");
    first.clock.thaw();
    gate.resolve();
    await clock.advance(0);
    first.network.heal();
    expect((await reported).actions).toMatchObject([{ type: "create", id: "web-0", result: "fenced" }]);
    expect(first.counted(FENCED)).toBe(1);
    expect(first.calls.count("resources.apply")).toBe(sent);
    expect(await row("web-0")).toMatchObject({ state: "PENDING", version: 1 });
    expect((await second.reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(60_000);
    expect((await second.reconciler.reconcile()).actions).toMatchObject([{ id: "web-0", result: "done" }]);
    expect(actions.map(({ by, what }) => `${by} ${what}`)).toEqual(["a create web-0/1", "b create web-0/1"]);
    expect(new Set(actions.map(({ key }) => key)).size).toBe(1);
    await stopAll();
  });

  it("tells the create by its signal before another may call it, gets its shards back after that, and goes on", async () => {
    const { clock, node, resources, actions, row, divide, untilItOwns, stopAll } = setUpSharded();
    const signals: AbortSignal[] = [];
    const create: ReconcilerOptions["create"] = async (_, { signal }) => {
      signals.push(signal);
      if (signals.length === 1) await new Promise((_, reject) => signal.addEventListener("abort", reject));
    };
    const only = node("a", { reconciler: { create } });
    await divide(only);
    await resources.setDesired(1);
    const reported = only.reconciler.reconcile();
    await clock.advance(0);
    only.network.cut("both");
    await clock.advance(29_000);
    expect(only.coordinator.owns("web-0")).toBe(false);
    await clock.advance(1_000);
    expect(signals[0]?.aborted).toBe(true);
    expect((await reported).actions).toMatchObject([{ id: "web-0", result: "fenced" }]);
    only.network.heal();
    await untilItOwns(only, "web-0");
    expect((await only.reconciler.reconcile()).actions).toMatchObject([{ id: "web-0", result: "done" }]);
    expect(await row("web-0")).toMatchObject({ state: "PROVISIONED", incarnation: 1 });
    expect(new Set(actions.map(({ key }) => key)).size).toBe(1);
    await stopAll();
  });
});

describe.each(LEDGERS)("members with shards of different epochs, %s", (engine, open) => {
  it("write in one group for long, and nobody is fenced", async () => {
    const { clock, node, resources, actions, arrivals, nodes, divide, stopAll } = setUpSharded({ open });
    const [first, second] = [node("a"), node("b")];
    // The shards of the second get far higher epochs.
    for (let time = 0; time < 5; time += 1) {
      await divide(second);
      await second.coordinator.stop();
    }
    await divide(first);
    await divide(second);
    for (const { reconciler } of nodes) reconciler.start();
    const rounds = engine === "in memory" ? 40 : 6;
    for (let round = 0; round < rounds; round += 1) {
      await resources.setDesired(round % 2 === 0 ? 30 : 20);
      for (const { reconciler } of nodes) reconciler.wake();
      await clock.advance(5_000);
    }
    const fates = arrivals.flatMap(fatesOf);
    expect(fates.length).toBeGreaterThan(rounds * 20);
    expect(fates.filter((fate) => !fate.endsWith(": applied"))).toEqual([]);
    const epochsOf = (by: string) => {
      const own = arrivals.filter((arrival) => arrival.by === by);
      return new Set(own.flatMap(({ request }) => (request.fences ?? []).map(({ epoch }) => epoch)));
    };
    // Each of the two knows epochs below the other's highest, in one group.
    expect(Math.max(...epochsOf("b"))).toBeGreaterThan(Math.min(...epochsOf("a")));
    for (const { counted, reconciler } of nodes) {
      expect(counted(FENCED)).toBe(0);
      expect(await reconciler.status()).toMatchObject({ converged: true, desired: 20 });
    }
    expect(new Set(actions.map(({ by }) => by))).toEqual(new Set(["a", "b"]));
    await stopAll();
  });
});

describe("a loop", () => {
  it("acts as soon as a shard is its member's, long before the next resync", async () => {
    const { clock, node, resources, row, stopAll } = setUpSharded();
    const only = node("a", { reconciler: { resyncIntervalMs: 3_600_000 } });
    await resources.setDesired(3);
    only.reconciler.start();
    await clock.advance(60_000);
    expect(await row("web-0")).toBeUndefined();
    only.coordinator.start();
    await clock.advance(10);
    for (const id of ["web-0", "web-1", "web-2"]) expect(await row(id)).toMatchObject({ state: "PROVISIONED" });
    await stopAll();
  });

  it("takes over from one that died as soon as the shards are its own", async () => {
    const { clock, node, idAt, resources, row, divide, untilItOwns, stopAll } = setUpSharded();
    const [first, second] = [node("a"), node("b", { reconciler: { resyncIntervalMs: 3_600_000 } })];
    await divide(first, second);
    second.reconciler.start();
    const id = idAt("a", "a", "b");
    first.network.cut("both");
    first.clock.freeze();
    await resources.setDesired([{ id }]);
    second.reconciler.wake();
    await untilItOwns(second, id);
    await clock.advance(10);
    expect(await row(id)).toMatchObject({ state: "PROVISIONED" });
    await stopAll();
  });

  it("whose coordinator is stopped ends what runs, and does nothing more", async () => {
    const { clock, node, resources, actions, row, divide, stopAll } = setUpSharded();
    const gates = [deferred(), deferred()];
    const only = node("a", { reconciler: { create: async () => gates[actions.length - 1]?.promise } });
    await divide(only);
    await resources.setDesired([{ id: "web-0" }]);
    only.reconciler.start();
    await clock.advance(0);
    let isStopped = false;
    const stopped = only.coordinator.stop().then(() => {
      isStopped = true;
    });
    await resources.setDesired([{ id: "web-0" }, { id: "web-1" }]);
    only.reconciler.wake();
    await clock.advance(5_000);
    expect(isStopped).toBe(false);
    expect(await row("web-0")).toMatchObject({ state: "PENDING" });
    gates[0]?.resolve();
    await clock.advance(100);
    await stopped;
    expect(await row("web-0")).toMatchObject({ state: "PROVISIONED" });
    await clock.advance(120_000);
    expect(actions.map(({ what }) => what)).toEqual(["create web-0/1"]);
    expect(only.counted(FENCED)).toBe(0);
    expect(only.events.filter(({ type }) => type === "pass_failed")).toEqual([]);
    // Until it takes part again.
    only.coordinator.start();
    await clock.advance(10);
    gates[1]?.resolve();
    await clock.advance(10);
    expect(await row("web-1")).toMatchObject({ state: "PROVISIONED" });
    await stopAll();
  });

  it("asks the store for no fences at rest", async () => {
    const { clock, node, resources, arrivals, divide, stopAll } = setUpSharded();
    const only = node("a");
    await divide(only);
    await resources.setDesired(5);
    only.reconciler.start();
    await clock.advance(60_000);
    const before = arrivals.length;
    await clock.advance(600_000);
    expect(arrivals.length).toBe(before);
    expect(
      arrivals.filter(({ request: { fences = [], writes } }) => fences.length > 0 && writes.length === 0),
    ).toHaveLength(1);
    await stopAll();
  });
});

describe("a leader with shards of its own", () => {
  it("writes under its leadership's epoch and each shard's, and only while it has both", async () => {
    const { clock, ledger, node, resources, arrivals, row, divide, stopAll } = setUpSharded();
    const leader = new LeaderElector({ store: ledger, name: "lead", identity: "a", clock, random: seededRandom(9) });
    const only = node("a", { reconciler: { leader } });
    await divide(only);
    await resources.setDesired(1);
    expect((await only.reconciler.reconcile()).held).toMatchObject([{ heldBy: "notLeader" }]);
    expect(arrivals).toEqual([]);
    leader.start();
    await clock.advance(0);
    const { epoch } = leader;
    expect((await only.reconciler.reconcile()).converged).toBe(true);
    expect(new Set(arrivals.map(({ request }) => request.epoch))).toEqual(new Set([epoch]));
    const fence = { name: `shard ${only.coordinator.shardOf("web-0")}`, epoch: only.coordinator.epochOf("web-0") };
    const ofRows = arrivals.filter(({ request }) => request.writes.length > 0);
    for (const { request } of ofRows) expect(request.fences).toEqual([fence]);
    expect(ofRows.flatMap(fatesOf).every((fate) => fate.endsWith(": applied"))).toBe(true);
    await only.coordinator.stop();
    await resources.setDesired([]);
    expect((await only.reconciler.reconcile()).actions).toEqual([]);
    expect(await row("web-0")).toMatchObject({ state: "PROVISIONED" });
    await leader.stop();
    await stopAll();
  });
});
