import { type ReconcilerOptions, RetryAfter } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, deferred, heldOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

async function setUpOne(options: Partial<ReconcilerOptions> = {}) {
  const test = setUpReconciler(options);
  await test.reconciler.setDesired(1);
  await test.reconciler.reconcile();
  const { clock, ledger, fleet, reconciler } = test;
  /** One beat and no more: milliseconds until the replacement is there. */
  const replaceAfter = async (limitMs: number): Promise<number> => {
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    const made = fleet.created.length;
    for (let ms = 0; ms <= limitMs; ms += 500) {
      await reconciler.reconcile();
      if (fleet.created.length > made) {
        await reconciler.reconcile();
        return ms;
      }
      await clock.advance(500);
    }
    return Number.POSITIVE_INFINITY;
  };
  return { ...test, replaceAfter };
}

describe("replacements of one slot", () => {
  it("come at once, then after 10 s, 20 s and 40 s, up to a fifth longer", async () => {
    const { replaceAfter } = await setUpOne();
    expect(await replaceAfter(0)).toBe(0);
    for (const delayMs of [10_000, 20_000, 40_000]) {
      const after = await replaceAfter(60_000);
      expect(after).toBeGreaterThanOrEqual(delayMs);
      expect(after).toBeLessThanOrEqual(delayMs * 1.2 + 500);
    }
  });

  it("come at once again after 10 stable minutes", async () => {
    const { replaceAfter, clock, ledger } = await setUpOne();
    await replaceAfter(0);
    await replaceAfter(30_000);
    for (let minute = 0; minute < 21; minute += 1) {
      await ledger.heartbeat("web-0");
      await clock.advance(30_000);
    }
    expect(await replaceAfter(0)).toBe(0);
  });

  it("are shown as held meanwhile, and the loop comes back for them by itself", async () => {
    const { reconciler, replaceAfter, clock, ledger, fleet } = await setUpOne({ resyncIntervalMs: 3_600_000 });
    await replaceAfter(0);
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["fail web-0/2"]);
    expect(heldOf(report)).toEqual(["replace web-0: backoff"]);
    expect(fleet.created).toHaveLength(2);
    reconciler.start();
    await clock.advance(12_001);
    expect(fleet.created).toHaveLength(3);
    await reconciler.stop();
  });

  it("fenceFirst: come only once the old one is gone", async () => {
    const { reconciler, clock, ledger, fleet } = await setUpOne({ replacement: "fenceFirst" });
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    fleet.calls.length = 0;
    for (let pass = 0; pass < 4; pass += 1) await reconciler.reconcile();
    expect(fleet.calls).toEqual(["terminate web-0/1", "create web-0/2"]);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });

  it("fenceFirst: don't come while its terminate fails", async () => {
    const fleet = fakeFleet();
    const { reconciler, clock, ledger } = await setUpOne({
      ...fleet.callbacks,
      replacement: "fenceFirst",
      terminate: () => Promise.reject(new Error("no")),
    });
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    for (let pass = 0; pass < 20; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(10_000);
    }
    expect(fleet.calls).toEqual(["create web-0/1"]);
    expect(heldOf(await reconciler.plan())).toContain("create web-0: fence");
  });

  it("fenceFirst with an own observe: come only once an observation lacks the old one", async () => {
    const fleet = fakeFleet();
    const gone = new Set<string>();
    const made: string[] = [];
    const { reconciler, clock } = setUpReconciler({
      replacement: "fenceFirst",
      create: async ({ id, incarnation }) => {
        made.push(`${id}/${incarnation}`);
        fleet.running.set(`${id}/${incarnation}`, { id, incarnation });
        return { externalId: `${id}/${incarnation}` };
      },
      // Says yes, and takes its time.
      terminate: async ({ externalId = "" }) => void gone.add(externalId),
      observe: () =>
        [...fleet.running].map(([externalId, item]) => ({ ...item, externalId, healthy: item.incarnation > 1 })),
    });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(31_000);
    for (let pass = 0; pass < 5; pass += 1) await reconciler.reconcile();
    expect(gone).toEqual(new Set(["web-0/1"]));
    expect(made).toEqual(["web-0/1"]);
    fleet.running.delete("web-0/1");
    for (let pass = 0; pass < 3; pass += 1) await reconciler.reconcile();
    expect(made).toEqual(["web-0/1", "web-0/2"]);
  });
});

describe("creations", () => {
  it("begin in batches of 1, 2, 4, up to the concurrency", async () => {
    const gates: ReturnType<typeof deferred<void>>[] = [];
    const { reconciler, clock } = setUpReconciler({
      concurrency: 5,
      create: () => {
        const gate = deferred<void>();
        gates.push(gate);
        return gate.promise;
      },
    });
    await reconciler.setDesired(20);
    const reported = reconciler.reconcile();
    const batches: number[] = [];
    for (let done = 0; done < 20; ) {
      await settle(clock);
      const batch = gates.splice(0);
      batches.push(batch.length);
      done += batch.length;
      for (const gate of batch) gate.resolve();
    }
    expect(batches).toEqual([1, 2, 4, 5, 5, 3]);
    expect((await reported).converged).toBe(true);
  });

  it("end after the batch in which one fails, and go on by themselves", async () => {
    let isDown = true;
    const fleet = fakeFleet();
    let tries = 0;
    const { reconciler, clock } = setUpReconciler({
      ...fleet.callbacks,
      create: (resource, ctx) => {
        tries += 1;
        return isDown && tries > 1 ? Promise.reject(new Error("quota")) : fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(50);
    const report = await reconciler.reconcile();
    expect(tries).toBe(3);
    expect(report.actions.map(({ result }) => result)).toEqual(["done", "failed", "failed"]);
    expect(heldOf(report)).toHaveLength(47);
    reconciler.start();
    await clock.advance(600_000);
    expect(tries).toBeLessThan(200);
    isDown = false;
    await clock.advance(60_000);
    expect(fleet.ids()).toHaveLength(50);
    await reconciler.stop();
  });

  it("of one that always fails do not keep the others from being made", async () => {
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      ...fleet.callbacks,
      create: (resource, ctx) =>
        resource.id === "web-0" ? Promise.reject(new Error("no")) : fleet.callbacks.create(resource, ctx),
    });
    await reconciler.setDesired(10);
    reconciler.start();
    await clock.advance(5_000);
    expect(fleet.ids()).toHaveLength(9);
    await reconciler.stop();
  });

  it("wait no longer than a RetryAfter asks for, and no shorter", async () => {
    const tries: number[] = [];
    const { reconciler, clock } = setUpReconciler({
      resyncIntervalMs: 3_600_000,
      create: async () => {
        tries.push(clock.now());
        throw new RetryAfter(90_000);
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(89_999);
    reconciler.wake("web-0");
    await settle(clock);
    expect(tries).toHaveLength(1);
    await clock.advance(2);
    expect(tries).toHaveLength(2);
    expect((tries[1] ?? 0) - (tries[0] ?? 0)).toBe(90_000);
    await reconciler.stop();
  });

  it("take no more than maxActionsPerPass, and the rest comes in the next pass", async () => {
    const { reconciler, fleet } = setUpReconciler({ maxActionsPerPass: 7 });
    await reconciler.setDesired(20);
    const report = await reconciler.reconcile();
    expect(report.actions).toHaveLength(7);
    expect(report.held.filter(({ heldBy }) => heldBy === "budget")).toHaveLength(13);
    await reconciler.reconcile();
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.created).toHaveLength(20);
  });

  it("take 500 a pass where nothing else is said, and a loop needs no resync for more", async () => {
    const { reconciler, fleet, clock } = setUpReconciler({ resyncIntervalMs: 3_600_000, concurrency: 100 });
    await reconciler.setDesired(1_100);
    expect((await reconciler.reconcile()).actions).toHaveLength(500);
    reconciler.start();
    await clock.advance(1);
    for (let turn = 0; turn < 20 && fleet.created.length < 1_100; turn += 1) await settle(clock);
    expect(fleet.created).toHaveLength(1_100);
    await reconciler.stop();
  });
});
