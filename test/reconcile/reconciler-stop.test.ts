import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { conditionsOf, deferred, eventsOf, heldOf, settle, writesIn } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const IDLE_PROCESS = fileURLToPath(new URL("../support/reconciler-idle-process.ts", import.meta.url));

describe("pause()", () => {
  it("looks and reports, and writes nothing at all", async () => {
    const { reconciler, fleet, storeCalls } = setUpReconciler({ desired: () => 3 });
    reconciler.pause();
    const report = await reconciler.reconcile();
    expect(heldOf(report)).toEqual(["create web-0: paused", "create web-1: paused", "create web-2: paused"]);
    expect(conditionsOf(report).Paused).toBe("Paused");
    expect(writesIn(storeCalls)).toEqual([]);
    expect(fleet.calls).toEqual([]);
    expect(await reconciler.status()).toMatchObject({ paused: true, converged: false, observedGeneration: 0 });
    reconciler.resume();
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(await reconciler.status()).toMatchObject({ paused: false, converged: true });
  });

  it("marks and purges nothing either", async () => {
    const { reconciler, clock, storeCalls } = setUpReconciler();
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(2 * 3_600_000);
    reconciler.pause();
    storeCalls.length = 0;
    reconciler.start();
    await clock.advance(100_000);
    const report = await reconciler.reconcile();
    expect(report.held).toMatchObject([
      { type: "fail", heldBy: "paused" },
      { type: "replace", heldBy: "paused" },
    ]);
    expect(writesIn(storeCalls)).toEqual([]);
    await reconciler.stop();
  });

  it("in the middle of a pass begins nothing more, and writes nothing but what is under way", async () => {
    const gate = deferred();
    const fleet = fakeFleet();
    const { reconciler, clock, storeCalls } = setUpReconciler({
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        await gate.promise;
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(5);
    const reported = reconciler.reconcile();
    await settle(clock);
    reconciler.pause();
    storeCalls.length = 0;
    gate.resolve();
    const report = await reported;
    expect(report.actions).toHaveLength(1);
    expect(report.held.map(({ heldBy }) => heldBy)).toEqual(["paused", "paused", "paused", "paused"]);
    // That web-0 is PROVISIONED.
    expect(writesIn(storeCalls)).toEqual(["resources.apply"]);
  });

  it("and resume() look afresh", async () => {
    let observed = 0;
    const { reconciler, clock } = setUpReconciler({
      observe: () => {
        observed += 1;
        return [];
      },
      resyncIntervalMs: 3_600_000,
    });
    await reconciler.setDesired(0);
    reconciler.start();
    await settle(clock);
    reconciler.pause();
    await settle(clock);
    const before = observed;
    reconciler.resume();
    reconciler.resume();
    await settle(clock);
    expect(observed).toBe(before + 1);
    await reconciler.stop();
  });
});

describe("stop()", () => {
  /** A loop whose first create hangs until the gate opens, or for ever. */
  async function setUpHanging() {
    const gate = deferred();
    const fleet = fakeFleet();
    const signals: AbortSignal[] = [];
    const test = setUpReconciler({
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        signals.push(ctx.signal);
        await gate.promise;
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await test.reconciler.setDesired(5);
    test.reconciler.start();
    await settle(test.clock);
    return { ...test, fleet, gate, signals };
  }

  it("during a pass waits for what is under way, and begins nothing more", async () => {
    const { reconciler, clock, fleet, gate, signals, ledger } = await setUpHanging();
    let isStopped = false;
    const stopped = reconciler.stop().then(() => {
      isStopped = true;
    });
    await clock.advance(5_000);
    expect(isStopped).toBe(false);
    expect(signals[0]?.aborted).toBe(false);
    gate.resolve();
    await settle(clock);
    expect(isStopped).toBe(true);
    await stopped;
    expect(fleet.ids()).toEqual(["web-0"]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PROVISIONED" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("tells what is under way after graceMs, and waits no longer for what does not listen", async () => {
    const { reconciler, clock, signals } = await setUpHanging();
    const stopped = reconciler.stop({ graceMs: 3_000 });
    await clock.advance(2_999);
    expect(signals[0]?.aborted).toBe(false);
    await clock.advance(1);
    expect(signals[0]?.aborted).toBe(true);
    await clock.advance(1_000);
    await stopped;
    expect(clock.pendingTimers).toBe(0);
  });

  it("during an observe that hangs waits for graceMs, and leaves nothing", async () => {
    const { reconciler, clock } = setUpReconciler({ observe: () => new Promise(() => {}), actionTimeoutMs: 600_000 });
    reconciler.start();
    await settle(clock);
    const stopped = reconciler.stop({ graceMs: 1_000 });
    await clock.advance(1_000);
    await stopped;
    expect(clock.pendingTimers).toBe(0);
  });

  it("twice is harmless, and so is before a start", async () => {
    const { reconciler, clock } = setUpReconciler();
    await reconciler.stop();
    reconciler.start();
    reconciler.start();
    await settle(clock);
    await Promise.all([reconciler.stop(), reconciler.stop()]);
    await reconciler.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("start, stop, start: goes on, one pass at a time", async () => {
    const { reconciler, clock, fleet, gate, events } = await setUpHanging();
    const stopped = reconciler.stop();
    reconciler.start();
    await settle(clock);
    gate.resolve();
    await stopped;
    await clock.advance(1_000);
    expect(fleet.ids()).toHaveLength(5);
    expect(fleet.created).toHaveLength(5);
    expect(eventsOf(events, "pass_failed")).toEqual([]);
    await reconciler.stop();
  });

  it("is final until the next start: no wake, no resync, no deadline runs a pass", async () => {
    const { reconciler, clock, events } = setUpReconciler();
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    await reconciler.stop();
    events.length = 0;
    reconciler.wake();
    await reconciler.setDesired(2);
    await clock.advance(3_600_000);
    expect(events).toEqual([]);
  });

  it("leaves reconcile(), plan(), status() and explain() as they were", async () => {
    const { reconciler, clock, fleet } = setUpReconciler();
    reconciler.start();
    await settle(clock);
    await reconciler.stop();
    await reconciler.setDesired(2);
    expect((await reconciler.plan()).actions).toHaveLength(2);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.ids()).toHaveLength(2);
    expect(await reconciler.status()).toMatchObject({ converged: true });
    expect(await reconciler.explain("web-0")).not.toEqual([]);
  });

  it.each([[{ graceMs: -1 }], [{ graceMs: Number.NaN }], [{ graceMs: "1" }], [{ grace: 1 }], [null], [7]])(
    "refuses %j, and goes on",
    async (options) => {
      const { reconciler, clock, fleet } = setUpReconciler();
      reconciler.start();
      await expect(reconciler.stop(options as never)).rejects.toMatchObject({
        code: "INVALID_OPTIONS",
        message: expect.stringContaining("Reconciler.stop"),
      });
      await reconciler.setDesired(1);
      await clock.advance(1_000);
      expect(fleet.ids()).toEqual(["web-0"]);
      await reconciler.stop();
    },
  );

  it("lets a process exit by itself", async () => {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, ["--import", "tsx", "--no-warnings", IDLE_PROCESS], {
      timeout: 30_000,
    });
    expect(stdout.trim()).toBe("stopped, 3 running");
  });
});
