import type { ObservedResource } from "evenkeel";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { actionsOf, eventsOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const HOUR_MS = 3_600_000;

describe("tombstones", () => {
  it("are purged after an hour, and a zombie that comes back later is ended all the same", async () => {
    const seen: ObservedResource[] = [];
    const { reconciler, clock, storeCalls } = setUpReconciler({ observe: () => seen });
    await reconciler.setDesired(1);
    seen.push({ id: "web-0", incarnation: 1 });
    await reconciler.reconcile();
    await clock.advance(31_000);
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    seen.length = 0;
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({ observed: { TERMINATED: 1 } });
    await clock.advance(HOUR_MS - 1);
    await reconciler.reconcile();
    expect(storeCalls).not.toContain("resources.purge");
    expect(await reconciler.status()).toMatchObject({ observed: { TERMINATED: 1 } });
    await clock.advance(1);
    await reconciler.reconcile();
    expect(storeCalls).toContain("resources.purge");
    expect(await reconciler.status()).toMatchObject({ observed: { TERMINATED: 0 }, converged: true });
    seen.push({ id: "web-0", incarnation: 1 });
    expect(actionsOf(await reconciler.reconcile())).toEqual(["terminate web-0/1"]);
  });
});

describe("10,000 resources with ids that never come again", () => {
  it("leave nothing behind that grows", async () => {
    const { reconciler, clock, fleet, ledger } = setUpReconciler({ concurrency: 500 });
    const random = seededRandom(1);
    const sizes: number[] = [];
    for (let cycle = 0; cycle < 40; cycle += 1) {
      const ids = Array.from({ length: 250 }, (_, index) => `r-${Math.floor(random.float() * 2 ** 48)}-${index}`);
      await reconciler.setDesired(ids.map((id) => ({ id })));
      await reconciler.reconcile();
      await reconciler.reconcile();
      await clock.advance(HOUR_MS / 4);
      const { TERMINATED, PROVISIONED } = (await reconciler.status()).observed;
      sizes.push(TERMINATED + PROVISIONED);
    }
    expect(fleet.created).toHaveLength(10_000);
    // An hour of tombstones, not all that ever were.
    expect(Math.max(...sizes)).toBeLessThanOrEqual(250 * 6);
    let rows = 0;
    for await (const _ of ledger.list({})) rows += 1;
    expect(rows).toBeLessThanOrEqual(250 * 6);
  });
});

describe("a wall clock that is set", () => {
  it("an hour back and forth breaks nothing, in a loop that creates, ends and replaces", async () => {
    const { reconciler, clock, fleet, ledger, events } = setUpReconciler();
    reconciler.start();
    const live = async (minutes: number): Promise<void> => {
      for (let step = 0; step < minutes * 6; step += 1) {
        for (const { id, incarnation } of fleet.running.values()) await ledger.heartbeat(id, { incarnation });
        await clock.advance(10_000);
      }
    };
    for (const [jump, desired] of [
      [0, 3],
      [-HOUR_MS, 6],
      [HOUR_MS, 2],
      [HOUR_MS, 4],
      [-HOUR_MS, 1],
    ] as const) {
      await clock.set(clock.now() + jump);
      await reconciler.setDesired(desired);
      await live(2);
      expect(fleet.ids()).toHaveLength(desired);
      expect(await reconciler.status()).toMatchObject({ converged: true });
    }
    expect(eventsOf(events, "pass_failed")).toEqual([]);
    // Nobody was taken for dead.
    expect(fleet.calls.filter((call) => call.endsWith("/2"))).toHaveLength(
      new Set(fleet.calls.filter((call) => call.endsWith("/2"))).size,
    );
    expect(eventsOf(events, "action_finished").filter(({ action }) => action === "fail")).toEqual([]);
    await reconciler.stop();
  });

  it("back does not keep what failed waiting for as long", async () => {
    let isDown = true;
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      ...fleet.callbacks,
      create: (resource, ctx) => (isDown ? Promise.reject(new Error("no")) : fleet.callbacks.create(resource, ctx)),
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(20_000);
    await clock.set(clock.now() - HOUR_MS);
    isDown = false;
    reconciler.wake();
    await settle(clock);
    await clock.advance(60_000);
    expect(fleet.ids()).toEqual(["web-0"]);
    await reconciler.stop();
  });

  it("forth makes nobody stale before a grace period is over, and back makes nobody fresh for ever", async () => {
    const { reconciler, clock, ledger } = setUpReconciler();
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    await clock.set(clock.now() + HOUR_MS);
    await ledger.heartbeat("web-0");
    await clock.set(clock.now() - HOUR_MS);
    // It beats on, from a time before its last beat.
    for (let beat = 0; beat < 12; beat += 1) {
      await ledger.heartbeat("web-0");
      await clock.advance(10_000);
    }
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(60_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });
});
