import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { trace } from "@opentelemetry/api";
import { type EventListener, Reconciler } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, it } from "vitest";
import { settle } from "../../reconcile/reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "../../reconcile/set-up.ts";
import { setUpTelemetry } from "./telemetry.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("the metrics of a reconciler", () => {
  it("are there at 0 before its first pass, but for the histograms, which begin with their first observation", async () => {
    const { onEvent, series } = setUpTelemetry();
    const { reconciler } = setUpReconciler({ onEvent });
    const exported = (await series()).filter(({ name }) => /^(reconciler|workqueue)_/.test(name));
    expect(exported.every(({ value, labels }) => value === 0 && labels["name"] === "web")).toBe(true);
    const said = reconciler.metrics().filter(({ kind }) => kind !== "histogram");
    for (const { name, labels } of said) expect(exported).toContainEqual({ name, labels, value: 0 });
    const own = exported.filter(({ name }) => !said.some((sample) => sample.name === name));
    expect(new Set(own.map(({ name }) => name))).toEqual(
      new Set(["reconciler_pass_failures_total", "reconciler_unknown_answers_total"]),
    );
  });

  it("are at every scrape what the reconciler says then", async () => {
    const { onEvent, series, value } = setUpTelemetry();
    const { reconciler, clock } = setUpReconciler({ onEvent });
    await reconciler.setDesired(30);
    reconciler.start();
    await settle(clock);
    const exported = await series();
    for (const sample of reconciler.metrics()) {
      if (sample.kind === "histogram") continue;
      expect(exported).toContainEqual({ name: sample.name, labels: sample.labels, value: sample.value });
    }
    expect(await value("reconciler_observed", { state: "PROVISIONED" })).toBe(30);
    await reconciler.setDesired(10);
    await settle(clock);
    expect(await value("reconciler_observed", { state: "PROVISIONED" })).toBe(10);
    expect(await value("reconciler_actions_total", { action: "terminate", result: "done" })).toBe(20);
    await reconciler.stop();
  });

  it("have the histograms that the reconciler itself counts", async () => {
    const { onEvent, value, scrape } = setUpTelemetry();
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      onEvent,
      create: async (resource, ctx) => {
        await clock.sleep(700);
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    reconciler.wake();
    await clock.advance(700);
    for (const sample of reconciler.metrics()) {
      if (sample.kind !== "histogram") continue;
      expect(await value(`${sample.name}_count`)).toBe(sample.count);
      expect(await value(`${sample.name}_sum`)).toBe(sample.sum);
      for (const { le, count } of sample.buckets)
        expect(await value(`${sample.name}_bucket`, { le: String(le) })).toBe(count);
    }
    expect(await scrape()).toContain("# TYPE workqueue_work_duration_seconds histogram");
    expect(await value("reconciler_pass_duration_seconds_count")).toBe(2);
    expect(await value("reconciler_pass_duration_seconds_sum")).toBe(0.7);
    await reconciler.stop();
  });

  it("are those of the newest of one name, and of every other name", async () => {
    const { onEvent, value } = setUpTelemetry();
    const store = memoryStore();
    const create = (name: string) => new Reconciler({ name, store, onEvent, ...fakeFleet().callbacks });
    const [older, other] = [create("web"), create("db")];
    await older.setDesired(3);
    await older.reconcile();
    await other.setDesired(2);
    await other.reconcile();
    expect(await value("reconciler_desired", { name: "web" })).toBe(3);
    const newer = create("web");
    expect(await value("reconciler_desired", { name: "web" })).toBe(0);
    await newer.reconcile();
    expect(await value("reconciler_desired", { name: "web" })).toBe(3);
    expect(await value("reconciler_desired", { name: "db" })).toBe(2);
  });

  it("say no more after a stop than what was counted, until it works again or a newer one of its name is there", async () => {
    const { onEvent, value } = setUpTelemetry();
    const options = { onEvent, create: () => Promise.reject(new Error("no")) };
    const { reconciler, clock, store, fleet } = setUpReconciler(options);
    await reconciler.setDesired(2);
    reconciler.start();
    await clock.advance(5_000);
    expect(await value("reconciler_unconverged_seconds")).toBe(5);
    const failures = await value("reconciler_actions_total", { action: "create", result: "failed" });
    await reconciler.stop();
    await clock.advance(3_600_000);
    for (const gauge of ["reconciler_unconverged_seconds", "reconciler_desired", "workqueue_depth"])
      expect(await value(gauge)).toBe(0);
    expect(failures).toBeGreaterThan(0);
    expect(await value("reconciler_actions_total", { action: "create", result: "failed" })).toBe(failures);

    reconciler.start();
    await settle(clock);
    expect(await value("reconciler_desired")).toBe(2);
    const newer = new Reconciler({ name: "web", store, clock, onEvent, ...fleet.callbacks });
    await newer.setDesired(3);
    await newer.reconcile();
    await reconciler.stop();
    expect(await value("reconciler_desired")).toBe(3);
  });

  it("are again those of the older one of a name when the newer was stopped, and not when that was stopped, too", async () => {
    const { onEvent, value } = setUpTelemetry();
    const { reconciler: older, clock, store, fleet } = setUpReconciler({ onEvent });
    const namesake = () => new Reconciler({ name: "web", store, clock, onEvent, ...fleet.callbacks });
    await older.setDesired(2);
    older.start();
    await settle(clock);
    const [planning, newest] = [namesake(), namesake()];
    await planning.plan();
    expect(await value("reconciler_desired")).toBe(0);
    await planning.stop();
    await newest.stop();
    await newest.stop();
    expect(await value("reconciler_desired")).toBe(2);
    expect(await value("reconciler_converged")).toBe(1);
    expect(await value("reconciler_actions_total", { action: "create", result: "done" })).toBe(2);
    await newest.reconcile();
    await older.stop();
    await newest.stop();
    expect(await value("reconciler_desired")).toBe(0);
    older.start();
    await settle(clock);
    expect(await value("reconciler_desired")).toBe(2);
    await older.stop();
  });

  it("hold on to no reconciler that was stopped", async () => {
    const { onEvent, value } = setUpTelemetry();
    const gone = new WeakRef(await startedAndStopped(onEvent));
    await expect.poll(() => collected(gone), { timeout: 20_000 }).toBe(true);
    expect(await value("reconciler_desired", { name: "gone" })).toBe(0);
  });

  it("hold on to no reconciler that was never stopped when there is a newer one of its name", async () => {
    const { onEvent } = setUpTelemetry();
    const create = () => new Reconciler({ name: "gone", store: memoryStore(), onEvent, ...fakeFleet().callbacks });
    const gone = new WeakRef(create());
    create();
    await expect.poll(() => collected(gone), { timeout: 20_000 }).toBe(true);
  });

  it("count passes that failed, and answers that nothing could be concluded from", async () => {
    const { onEvent, value, spans } = setUpTelemetry();
    let isDown = false;
    const faults = { decide: () => (isDown ? ("lostRequest" as const) : undefined) };
    const observe = () => Promise.reject(new TypeError("no"));
    const { reconciler, clock } = setUpReconciler({ onEvent, observe }, faults);
    reconciler.start();
    await settle(clock);
    expect(await value("reconciler_unknown_answers_total", { of: "observe" })).toBeGreaterThan(0);
    expect(await value("reconciler_unknown_answers_total", { of: "desired" })).toBe(0);
    isDown = true;
    reconciler.wake();
    await clock.advance(20_000);
    expect(await value("reconciler_pass_failures_total")).toBeGreaterThan(0);
    const failed = spans().find(({ attributes }) => attributes["error.type"] !== undefined);
    expect(failed).toMatchObject({ name: "reconcile web", attributes: { "error.type": "STORE_UNAVAILABLE" } });
    isDown = false;
    await Promise.all([reconciler.stop(), clock.advance(60_000)]);
  });
});

describe("the span of a pass", () => {
  it("is one each, with its actions, below what is active where it was asked for", async () => {
    const { onEvent, spans, inside } = setUpTelemetry();
    const fleet = fakeFleet();
    const { reconciler, clock } = setUpReconciler({
      onEvent,
      create: async (resource, ctx) => {
        if (resource.id === "web-1") throw Object.assign(new Error("no"), { code: "E_QUOTA" });
        expect(trace.getActiveSpan()).toBeDefined();
        return fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(2);
    const request = await inside("request", async (span) => {
      await reconciler.reconcile();
      return span.spanContext();
    });
    const [pass] = spans();
    expect(pass).toMatchObject({
      name: "reconcile web",
      parentSpanContext: { spanId: request.spanId },
      attributes: { "evenkeel.reconciler": "web", "evenkeel.actions": 2, "evenkeel.converged": false },
    });
    const actions = pass?.events.filter(({ name }) => name === "action").map(({ attributes }) => attributes);
    expect(actions).toEqual([
      { "evenkeel.action": "create", "evenkeel.reason": "Missing", "evenkeel.result": "done" },
      {
        "evenkeel.action": "create",
        "evenkeel.reason": "Missing",
        "evenkeel.result": "failed",
        "error.type": "E_QUOTA",
      },
    ]);
    await clock.advance(60_000);
    await reconciler.reconcile();
    const [, , again] = spans();
    expect(again?.events.filter(({ name }) => name === "action")).toHaveLength(1);
  });

  it("holds no more actions than a span does", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const { reconciler } = setUpReconciler({ onEvent });
    await reconciler.setDesired(400);
    await reconciler.reconcile();
    expect(spans()).toMatchObject([{ attributes: { "evenkeel.actions": 400 }, droppedEventsCount: 0 }]);
    expect(spans()[0]?.events).toHaveLength(128);
  });
});

async function startedAndStopped(onEvent: EventListener): Promise<Reconciler> {
  const reconciler = new Reconciler({ name: "gone", store: memoryStore(), onEvent, ...fakeFleet().callbacks });
  await reconciler.setDesired(1);
  await reconciler.reconcile();
  await reconciler.stop();
  return reconciler;
}

/** Whether nobody holds on to it. */
async function collected(reference: WeakRef<object>): Promise<boolean> {
  collectGarbage();
  await new Promise(setImmediate);
  return reference.deref() === undefined;
}
