import { type LedgerStore, Reconciler, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { eventsOf, fakeLeader, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

describe("status()", () => {
  it("counts what is desired, observed and adrift", async () => {
    const { reconciler } = setUpReconciler({ maxActionsPerPass: 3 });
    expect(await reconciler.status()).toEqual({
      name: "web",
      generation: 0,
      observedGeneration: 0,
      desired: 0,
      observed: { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 },
      drift: { missing: 0, surplus: 0, stale: 0, outdated: 0 },
      converged: false,
      conditions: [],
      paused: false,
    });
    await reconciler.setDesired(5);
    expect(await reconciler.status()).toMatchObject({ generation: 1, observedGeneration: 0, drift: { missing: 5 } });
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({
      observedGeneration: 1,
      desired: 5,
      observed: { PROVISIONED: 3 },
      drift: { missing: 2 },
      converged: false,
    });
    await reconciler.setDesired(1);
    expect(await reconciler.status()).toMatchObject({ drift: { missing: 0, surplus: 2 } });
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({ observed: { PROVISIONED: 1, TERMINATED: 2 }, converged: true });
  });

  it("says of no generation that it was observed as long as nobody can look", async () => {
    let isDown = false;
    const { reconciler } = setUpReconciler({
      observe: () => {
        if (isDown) throw new Error("no");
        return [];
      },
    });
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    isDown = true;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({ generation: 2, observedGeneration: 1, converged: false });
    isDown = false;
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({ generation: 2, observedGeneration: 2 });
  });

  it("is in the ledger for others, in one write, and only when it changes", async () => {
    const { reconciler, store, clock, storeCalls, fleet } = setUpReconciler();
    await reconciler.setDesired(0);
    storeCalls.length = 0;
    await reconciler.reconcile();
    expect(storeCalls.filter((call) => call === "resources.apply")).toHaveLength(1);
    const { status = "" } = await store.resources.getDesired("web", { timeoutMs: 1_000 });
    expect(JSON.parse(status)).toEqual({
      observedGeneration: 1,
      conditions: [{ type: "Converged", status: true, reason: "AsDesired", since: clock.now() }],
    });
    storeCalls.length = 0;
    await clock.advance(1_000);
    await reconciler.reconcile();
    expect(storeCalls.filter((call) => call === "resources.apply")).toHaveLength(0);
    const other = new Reconciler({ name: "web", store, clock, ...fleet.callbacks });
    expect(await other.status()).toMatchObject({
      observedGeneration: 1,
      converged: true,
      conditions: [{ type: "Converged", status: true, since: clock.now() - 1_000 }],
    });
  });

  it("is written again into a ledger that was lost", async () => {
    const clock = new ManualClock();
    let inner = memoryStore({ clock });
    const store: LedgerStore = {
      get executions() {
        return inner.executions;
      },
      get resources() {
        return inner.resources;
      },
      get leases() {
        return inner.leases;
      },
      close: () => inner.close(),
    };
    const reconciler = new Reconciler({ name: "web", store, clock, ...fakeFleet().callbacks });
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    const { status: before } = await store.resources.getDesired("web", { timeoutMs: 1_000 });
    inner = memoryStore({ clock });
    await new ResourceLedger({ store: inner, group: "web", clock }).setDesired(0);
    await reconciler.reconcile();
    expect(await store.resources.getDesired("web", { timeoutMs: 1_000 })).toMatchObject({ status: before });
  });
});

describe("explain()", () => {
  it("says why each action was taken, held or skipped, and how it stands", async () => {
    let error: Error | undefined = new Error("no");
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        if (error !== undefined) throw error;
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(1);
    reconciler.pause();
    await reconciler.reconcile();
    reconciler.resume();
    await reconciler.reconcile();
    error = undefined;
    await clock.advance(1_000);
    await reconciler.reconcile();
    const explained = await reconciler.explain("web-0");
    expect(explained.map(({ action, outcome, reason }) => `${action} ${outcome}: ${reason}`)).toEqual([
      "create held: Missing, held by paused",
      "create failed: Missing, failed: Error",
      "create done: Missing",
      "none skipped: AsDesired",
    ]);
    expect(explained[0]?.at).toBe(clock.now() - 1_000);
    expect(await reconciler.explain("nobody")).toEqual([]);
  });

  it("says what was not begun because something else failed", async () => {
    const { reconciler } = setUpReconciler({ create: () => Promise.reject(new Error("no")) });
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    expect(await reconciler.explain("web-1")).toMatchObject([{ action: "create", outcome: "held" }]);
  });
});

describe("metrics()", () => {
  const names = [
    "reconciler_desired",
    "reconciler_observed",
    "reconciler_drift",
    "reconciler_converged",
    "reconciler_unconverged_seconds",
    "reconciler_actions_total",
    "reconciler_actions_held_total",
    "reconciler_fenced_writes_total",
    "workqueue_depth",
    "workqueue_adds_total",
    "workqueue_queue_duration_seconds",
    "workqueue_work_duration_seconds",
    "workqueue_unfinished_work_seconds",
    "workqueue_longest_running_processor_seconds",
    "workqueue_retries_total",
  ];

  it("are all there at 0 before the first pass", () => {
    const samples = setUpReconciler().reconciler.metrics();
    expect([...new Set(samples.map(({ name }) => name))].sort()).toEqual([...names].sort());
    for (const sample of samples) expect("value" in sample ? sample.value : sample.count).toBe(0);
    const labels = (name: string, label: string) =>
      samples.filter((sample) => sample.name === name).map((sample) => sample.labels[label]);
    expect(labels("reconciler_observed", "state")).toEqual(expect.arrayContaining(["PENDING", "TERMINATED"]));
    expect(labels("reconciler_drift", "kind")).toEqual(["missing", "surplus", "stale", "outdated"]);
    expect(labels("reconciler_actions_total", "result")).toEqual(expect.arrayContaining(["done", "failed", "fenced"]));
    expect(labels("reconciler_actions_held_total", "reason")).toEqual(expect.arrayContaining(["massGuard", "fence"]));
  });

  it("are the same series after passes, and none is of one resource", async () => {
    const { reconciler, clock } = setUpReconciler();
    const before = reconciler.metrics();
    await reconciler.setDesired(30);
    reconciler.start();
    await settle(clock);
    const after = reconciler.metrics();
    expect(after.map(({ name, labels }) => ({ name, labels }))).toEqual(
      before.map(({ name, labels }) => ({ name, labels })),
    );
    expect(JSON.stringify(after)).not.toContain("web-1");
    const value = (name: string, labels: Record<string, string> = {}) => {
      const sample = after.find(
        (other) => other.name === name && Object.entries(labels).every(([key, text]) => other.labels[key] === text),
      );
      return sample !== undefined && "value" in sample ? sample.value : undefined;
    };
    expect(value("reconciler_desired")).toBe(30);
    expect(value("reconciler_observed", { state: "PROVISIONED" })).toBe(30);
    expect(value("reconciler_converged")).toBe(1);
    expect(value("reconciler_actions_total", { action: "create", result: "done" })).toBe(30);
    expect(value("workqueue_adds_total")).toBeGreaterThan(0);
    await reconciler.stop();
  });

  it("count what is held, and for how long it has not been converged", async () => {
    const { reconciler, clock } = setUpReconciler();
    await reconciler.setDesired(4);
    reconciler.pause();
    await reconciler.reconcile();
    await clock.advance(5_000);
    await reconciler.reconcile();
    const value = (name: string, reason?: string) => {
      const sample = reconciler.metrics().find((other) => other.name === name && other.labels["reason"] === reason);
      return sample !== undefined && "value" in sample ? sample.value : undefined;
    };
    expect(value("reconciler_actions_held_total", "paused")).toBe(8);
    expect(value("reconciler_unconverged_seconds")).toBe(5);
  });
});

describe("the gauges of a reconciler whose leader is another process", () => {
  it("are 0, so that what it saw as a leader is not taken for how things are", async () => {
    const leader = fakeLeader(1);
    const { reconciler, clock } = setUpReconciler({ leader, create: () => Promise.reject(new Error("no")) });
    const value = (name: string) => {
      const sample = reconciler.metrics().find((other) => other.name === name);
      return sample !== undefined && "value" in sample ? sample.value : undefined;
    };
    await reconciler.setDesired(2);
    reconciler.start();
    await clock.advance(60_000);
    expect([value("reconciler_desired"), value("reconciler_unconverged_seconds")]).toEqual([2, 60]);
    leader.lose();
    await clock.advance(3_600_000);
    expect([value("reconciler_desired"), value("reconciler_unconverged_seconds")]).toEqual([0, 0]);
    leader.lead(3);
    await clock.advance(10_000);
    expect(value("reconciler_desired")).toBe(2);
    expect(value("reconciler_unconverged_seconds")).toBeLessThanOrEqual(10);
    await reconciler.stop();
  });
});

describe("lastPass()", () => {
  it("is the last one that ended in this process, by the loop, reconcile() or approve()", async () => {
    const { reconciler, clock } = setUpReconciler();
    expect(reconciler.lastPass()).toBeUndefined();
    await reconciler.setDesired(3);
    await reconciler.plan();
    expect(reconciler.lastPass()).toBeUndefined();
    const report = await reconciler.reconcile();
    expect(reconciler.lastPass()).toEqual({ at: clock.now(), report });
    await clock.advance(1_000);
    const approved = await reconciler.approve((await reconciler.plan()).hash);
    expect(reconciler.lastPass()).toEqual({ at: clock.now(), report: approved });
    expect(reconciler.lastPass()?.report).toBe(approved);
    await clock.advance(1_000);
    reconciler.start();
    await settle(clock);
    expect(reconciler.lastPass()).toMatchObject({ at: clock.now(), report: { converged: true, actions: [] } });
    await reconciler.stop();
  });

  it("is still the one before when a pass fails", async () => {
    let isDown = false;
    const { reconciler, clock } = setUpReconciler({}, { decide: () => (isDown ? "lostRequest" : undefined) });
    await reconciler.reconcile();
    const before = reconciler.lastPass();
    isDown = true;
    const failed = reconciler.reconcile().catch((error: unknown) => error);
    await clock.advance(60_000);
    expect(await failed).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(reconciler.lastPass()).toBe(before);
  });
});

describe("events", () => {
  it("begin with that there is a reconciler, and with its metrics", () => {
    const { events, reconciler, clock } = setUpReconciler();
    expect(events).toMatchObject([{ type: "reconciler_created", reconciler: "web", at: clock.now() }]);
    expect(eventsOf(events, "reconciler_created")[0]?.metrics()).toEqual(reconciler.metrics());
  });

  it("tell when it has stopped, and when it works again, once each, by the same function", async () => {
    const { events, reconciler, clock } = setUpReconciler({ create: () => Promise.reject(new Error("no")) });
    const presence = () => events.flatMap((event) => ("metrics" in event ? [event.type] : []));
    const gauge = (name: string) =>
      reconciler.metrics().flatMap((one) => (one.name === name && "value" in one ? one.value : []));
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(5_000);
    expect(gauge("reconciler_unconverged_seconds")).toEqual([5]);
    await Promise.all([reconciler.stop(), reconciler.stop()]);
    await clock.advance(3_600_000);
    for (const name of ["reconciler_unconverged_seconds", "reconciler_desired", "reconciler_converged"])
      expect(gauge(name)).toEqual([0]);
    await reconciler.stop();
    expect(presence()).toEqual(["reconciler_created", "reconciler_stopped"]);

    await reconciler.reconcile();
    expect(gauge("reconciler_desired")).toEqual([1]);
    expect(presence().slice(2)).toEqual(["reconciler_restarted"]);
    reconciler.start();
    const stopped = reconciler.stop();
    reconciler.start();
    await stopped;
    expect(presence().slice(3)).toEqual([]);
    await clock.advance(1_000);
    expect(gauge("reconciler_desired")).toEqual([1]);
    await reconciler.stop();
    reconciler.start();
    await reconciler.stop();
    expect(presence().slice(3)).toEqual(["reconciler_stopped", "reconciler_restarted", "reconciler_stopped"]);
    expect(new Set(events.flatMap((event) => ("metrics" in event ? [event.metrics] : []))).size).toBe(1);
  });

  it("tell how long each pass of the loop waited and worked, as the histograms count it", async () => {
    const { reconciler, clock, events, fleet } = setUpReconciler({
      create: async (resource, ctx) => {
        await clock.sleep(700);
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.reconcile();
    expect(eventsOf(events, "work_finished")).toEqual([]);
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    reconciler.wake();
    await clock.advance(700);
    const finished = eventsOf(events, "work_finished");
    expect(finished).toMatchObject([
      { queuedMs: 0, workedMs: 700 },
      { queuedMs: 700, workedMs: 0 },
    ]);
    const sums = reconciler.metrics().flatMap((sample) => (sample.kind === "histogram" ? [sample.sum] : []));
    expect(sums).toEqual([0.7, 0.7]);
    await reconciler.stop();
  });

  it("tell of actions, passes and conditions, and a listener that throws changes nothing", async () => {
    const { reconciler, events } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await reconciler.reconcile();
    expect(eventsOf(events, "action_finished")).toMatchObject([
      { action: "create", id: "web-0", incarnation: 1, reason: "Missing", result: "done", reconciler: "web" },
    ]);
    expect(eventsOf(events, "condition_changed")).toMatchObject([{ condition: "Converged", status: true }]);
    expect(eventsOf(events, "pass_finished")).toMatchObject([
      { actions: 1, held: 0, converged: true },
      { actions: 0, held: 0, converged: true },
    ]);
    const loud = setUpReconciler({
      onEvent: () => {
        throw new Error("listener");
      },
    });
    await loud.reconciler.setDesired(1);
    expect((await loud.reconciler.reconcile()).converged).toBe(true);
  });
});
