import type { ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { conditionsOf, eventsOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

/** So many resources that have beaten just now. */
async function setUpBeating(count: number, options: Partial<ReconcilerOptions> = {}) {
  const test = setUpReconciler(options);
  await test.reconciler.setDesired(count);
  await test.reconciler.reconcile();
  /** Those from this index on beat, with the incarnation that they have. */
  const beat = async (from: number, to = count): Promise<void> => {
    const ids = Array.from({ length: to - from }, (_, index) => `web-${from + index}`);
    await Promise.all(ids.map((id) => test.ledger.heartbeat(id)));
  };
  await beat(0);
  test.fleet.calls.length = 0;
  return { ...test, beat, replaced: () => test.fleet.calls.filter((call) => call.startsWith("create")).length };
}

describe("when all of 10 fall silent", () => {
  it("nothing is replaced, and that is said once", async () => {
    const { reconciler, clock, events, fleet } = await setUpBeating(10);
    await clock.advance(30_001);
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(report.held.every(({ heldBy }) => heldBy === "massGuard")).toBe(true);
    expect(new Set(report.held.map(({ id }) => id)).size).toBe(10);
    expect(conditionsOf(report).MassStaleness).toBe("Held");
    await reconciler.reconcile();
    const changes = eventsOf(events, "condition_changed").filter(({ condition }) => condition === "MassStaleness");
    expect(changes).toMatchObject([{ status: true }]);
    expect(fleet.calls).toEqual([]);
  });

  it("it clears when beats come back, and the loop notices that without a resync", async () => {
    const { reconciler, clock, fleet, beat, events } = await setUpBeating(10, { resyncIntervalMs: 3_600_000 });
    reconciler.start();
    await clock.advance(31_000);
    expect(conditionsOf(await reconciler.status()).MassStaleness).toBe("Held");
    await beat(0);
    await clock.advance(10_000);
    expect(conditionsOf(await reconciler.status()).MassStaleness).toBeUndefined();
    const changes = eventsOf(events, "condition_changed").filter(({ condition }) => condition === "MassStaleness");
    expect(changes).toMatchObject([{ status: true }, { status: false }]);
    expect(fleet.calls).toEqual([]);
    await reconciler.stop();
  });

  it("approve() of the plan replaces them", async () => {
    const { reconciler, clock, replaced } = await setUpBeating(10);
    await clock.advance(30_001);
    const { hash } = await reconciler.plan();
    await reconciler.approve(hash);
    expect(replaced()).toBe(10);
  });
});

describe("when some fall silent", () => {
  it("5 of 10: one is replaced every 10 s", async () => {
    const { reconciler, clock, beat, replaced } = await setUpBeating(10, { resyncIntervalMs: 3_600_000 });
    reconciler.start();
    for (let second = 0; second < 30; second += 1) {
      await clock.advance(1_000);
      await beat(5);
    }
    expect(replaced()).toBe(0);
    await clock.advance(1_000);
    await settle(clock);
    expect(replaced()).toBe(1);
    expect(conditionsOf(await reconciler.status()).MassStaleness).toBe("Slowed");
    await beat(5);
    await clock.advance(8_500);
    expect(replaced()).toBe(1);
    await clock.advance(1_600);
    expect(replaced()).toBe(2);
    await reconciler.stop();
  });

  it("4 of 10: all are replaced at once", async () => {
    const { reconciler, clock, beat, replaced } = await setUpBeating(10);
    await clock.advance(30_001);
    await beat(4);
    const report = await reconciler.reconcile();
    expect(replaced()).toBe(4);
    expect(conditionsOf(report).MassStaleness).toBeUndefined();
  });

  it("all of 9: all are replaced at once, below 10 rows it never acts", async () => {
    const { reconciler, clock, replaced } = await setUpBeating(9);
    await clock.advance(30_001);
    const report = await reconciler.reconcile();
    expect(replaced()).toBe(9);
    expect(conditionsOf(report).MassStaleness).toBeUndefined();
  });

  it("all of 10 without the guard: all are replaced at once", async () => {
    const { reconciler, clock, replaced } = await setUpBeating(10, { massGuard: false });
    await clock.advance(30_001);
    await reconciler.reconcile();
    expect(replaced()).toBe(10);
  });

  it("one after another: an outage that trickles in is one all the same", async () => {
    const { reconciler, clock, beat, replaced } = await setUpBeating(10);
    // The i-th beats for the last time after i seconds.
    for (let second = 1; second <= 9; second += 1) {
      await clock.advance(1_000);
      await beat(second);
    }
    await clock.advance(21_001);
    for (let second = 0; second < 10; second += 1) {
      await reconciler.reconcile();
      await clock.advance(1_000);
    }
    // Without a memory of what was replaced a moment ago, it would be all ten.
    expect(replaced()).toBeLessThanOrEqual(5);
    expect(replaced()).toBeGreaterThanOrEqual(2);
  });
});
