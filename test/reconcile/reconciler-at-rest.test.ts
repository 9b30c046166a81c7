import { describe, expect, it } from "vitest";
import { actionsOf, deferred, eventsOf, settle, writesIn } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

describe("level-triggered", () => {
  it("does nothing when desired went a, b, a between two passes", async () => {
    const { reconciler, fleet } = setUpReconciler();
    await reconciler.setDesired([{ id: "a", spec: { size: 1 } }]);
    await reconciler.reconcile();
    await reconciler.setDesired([{ id: "b" }]);
    await reconciler.setDesired([{ id: "a", spec: { size: 1 } }]);
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(report.converged).toBe(true);
    expect(fleet.calls).toEqual(["create a/1"]);
  });

  it("repairs at the next resync what nobody told the loop of", async () => {
    const { reconciler, fleet, clock, ledger } = setUpReconciler({ resyncIntervalMs: 20_000 });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    // Another process: this loop is not woken.
    await ledger.setDesired(2);
    await clock.advance(19_000);
    expect(fleet.ids()).toEqual(["web-0"]);
    await clock.advance(1_000);
    expect(fleet.ids()).toEqual(["web-0", "web-1"]);
    await reconciler.stop();
  });

  it("never desired: nothing is created, and nothing that there is ends", async () => {
    const seen = [{ id: "stranger" }];
    const { reconciler, fleet } = setUpReconciler({ observe: () => seen });
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(report.converged).toBe(false);
    expect(fleet.calls).toEqual([]);
  });
});

describe("what is desired while a pass looks", () => {
  it("is acted on at once: nothing of what it found begins any more", async () => {
    let isSlow = false;
    const { reconciler, clock, fleet, ledger } = setUpReconciler(
      { resyncIntervalMs: 3_600_000 },
      // It has read what is desired, and reads on.
      { decide: ({ operation }) => (isSlow && operation === "resources.changedSince" ? { delayMs: 100 } : undefined) },
    );
    await ledger.setDesired([{ id: "a" }]);
    reconciler.start();
    await settle(clock);
    await ledger.setDesired([{ id: "a" }, { id: "b" }]);
    isSlow = true;
    reconciler.wake();
    await clock.advance(50);
    isSlow = false;
    await reconciler.setDesired([]);
    await clock.advance(100);
    await settle(clock);
    expect(fleet.calls).toEqual(["create a/1", "terminate a/1"]);
    await reconciler.stop();
  });
});

describe("at rest", () => {
  it("100 calls of reconcile() call nobody, write nothing, and read the same number of times", async () => {
    const { reconciler, fleet, storeCalls } = setUpReconciler();
    await reconciler.setDesired(50);
    await reconciler.reconcile();
    await reconciler.reconcile();
    const calls = fleet.calls.length;
    const reads = new Set<number>();
    for (let pass = 0; pass < 100; pass += 1) {
      storeCalls.length = 0;
      const report = await reconciler.reconcile();
      expect(report).toMatchObject({ actions: [], held: [], converged: true });
      expect(writesIn(storeCalls)).toEqual([]);
      reads.add(storeCalls.length);
    }
    expect(reads).toEqual(new Set([4]));
    expect(fleet.calls.length).toBe(calls);
  });

  it("reads as often for 10 resources as for 300", async () => {
    const reads = [];
    for (const count of [10, 300]) {
      const { reconciler, storeCalls } = setUpReconciler();
      await reconciler.setDesired(count);
      await reconciler.reconcile();
      await reconciler.reconcile();
      storeCalls.length = 0;
      await reconciler.reconcile();
      reads.push(storeCalls.length);
    }
    expect(reads[0]).toBe(reads[1]);
  });

  it("a loop over 100 resyncs calls nobody and writes nothing but the heartbeats", async () => {
    const { reconciler, ledger, fleet, storeCalls, clock, events } = setUpReconciler();
    await reconciler.setDesired(3);
    reconciler.start();
    await settle(clock);
    await Promise.all(["web-0", "web-1", "web-2"].map((id) => ledger.heartbeat(id)));
    await clock.advance(1);
    const calls = fleet.calls.length;
    storeCalls.length = 0;
    events.length = 0;
    const from = clock.now();
    let beats = 0;
    while (eventsOf(events, "pass_finished").length < 100) {
      await Promise.all(["web-0", "web-1", "web-2"].map((id) => ledger.heartbeat(id)));
      beats += 1;
      await clock.advance(15_000);
    }
    expect(fleet.calls.length).toBe(calls);
    expect(writesIn(storeCalls)).toEqual(Array.from({ length: beats }, () => "resources.heartbeat"));
    // A pass at each deadline that a beat has moved, or at a resync: no more often than every 15 s.
    expect((clock.now() - from) / 100).toBeGreaterThanOrEqual(15_000);
    await reconciler.stop();
  });

  it("plan() twice is equal, writes nothing, and leaves the passes as they would have been", async () => {
    const { reconciler, storeCalls, fleet } = setUpReconciler({ observe: () => [] });
    await reconciler.setDesired(3);
    await reconciler.reconcile();
    storeCalls.length = 0;
    const plans = [await reconciler.plan(), await reconciler.plan(), await reconciler.plan()];
    expect(plans[1]).toEqual(plans[0]);
    expect(plans[2]).toEqual(plans[0]);
    expect(writesIn(storeCalls)).toEqual([]);
    expect(fleet.calls).toHaveLength(3);
  });

  it("reconcile() does what plan() says", async () => {
    const { reconciler } = setUpReconciler();
    await reconciler.setDesired([{ id: "b" }, { id: "a" }, { id: "c" }]);
    const planned = actionsOf(await reconciler.plan());
    expect(planned).toEqual(["create a/1", "create b/1", "create c/1"]);
    expect(actionsOf(await reconciler.reconcile())).toEqual(planned);
  });
});

describe("wakes", () => {
  it("1,000 before a run are one run", async () => {
    const { reconciler, clock, events } = setUpReconciler({ resyncIntervalMs: 3_600_000 });
    await reconciler.setDesired(0);
    reconciler.start();
    await settle(clock);
    events.length = 0;
    for (let wake = 0; wake < 1_000; wake += 1) reconciler.wake();
    await settle(clock);
    expect(eventsOf(events, "pass_finished")).toHaveLength(1);
    await reconciler.stop();
  });

  it.each(["observe", "create"])(
    "50 while %s runs are exactly one run more, and never two at a time",
    async (where) => {
      const gate = deferred();
      let running = 0;
      let most = 0;
      let observed = 0;
      const guarded = async (isGated: boolean): Promise<void> => {
        running += 1;
        most = Math.max(most, running);
        if (isGated) await gate.promise;
        running -= 1;
      };
      const fleet = fakeFleet();
      const { create } = fleet.callbacks;
      const test = setUpReconciler({
        resyncIntervalMs: 3_600_000,
        observe: async () => {
          observed += 1;
          await guarded(where === "observe" && observed === 1);
          return [...fleet.running].map(([externalId, { id, incarnation }]) => ({ id, incarnation, externalId }));
        },
        create: async (resource, ctx) => {
          await guarded(where === "create");
          return create(resource, ctx);
        },
      });
      await test.reconciler.setDesired(1);
      test.reconciler.start();
      await settle(test.clock);
      expect(observed).toBe(1);
      for (let wake = 0; wake < 50; wake += 1) test.reconciler.wake();
      await settle(test.clock);
      expect(observed).toBe(1);
      gate.resolve();
      await settle(test.clock);
      expect(observed).toBe(2);
      expect(most).toBe(1);
      await test.reconciler.stop();
    },
  );
});
