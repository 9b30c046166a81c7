import { describe, expect, it } from "vitest";
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
