import { describe, expect, it } from "vitest";
import type { MetricSample } from "../../src/metric-sample.ts";
import { WorkQueue } from "../../src/reconcile/work-queue.ts";
import type { WorkDurations } from "../../src/reconcile/work-queue-options.ts";
import { setUp as setUpQueue } from "./work-queue-set-up.ts";

const NAMES = [
  "workqueue_depth",
  "workqueue_adds_total",
  "workqueue_queue_duration_seconds",
  "workqueue_work_duration_seconds",
  "workqueue_unfinished_work_seconds",
  "workqueue_longest_running_processor_seconds",
  "workqueue_retries_total",
];

function setUp() {
  const { clock, queue } = setUpQueue({ name: "orders" });
  const sample = (name: string): MetricSample | undefined => queue.metrics().find((metric) => metric.name === name);
  /** The value of `workqueue_<name>`. */
  const value = (name: string): number | undefined => {
    const found = sample(`workqueue_${name}`);
    return found?.kind === "histogram" ? undefined : found?.value;
  };
  const histogram = (name: string) => {
    const found = sample(`workqueue_${name}`);
    if (found?.kind !== "histogram") throw new Error(`${name} is no histogram`);
    return found;
  };
  return { clock, queue, value, histogram };
}

describe("the metrics of a work queue", () => {
  it("are all there at 0 from the beginning, under the queue's name", () => {
    const metrics = setUp().queue.metrics();
    expect(metrics.map(({ name }) => name)).toEqual(NAMES);
    for (const metric of metrics) {
      expect(metric.labels).toEqual({ name: "orders" });
      expect(metric.help).not.toBe("");
      if (metric.kind === "histogram") {
        expect(metric).toMatchObject({ sum: 0, count: 0 });
        expect(metric.buckets).toEqual(
          [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1, 10].map((le) => ({ le, count: 0 })),
        );
      } else expect(metric.value).toBe(0);
    }
    expect(metrics.map(({ kind }) => kind)).toEqual([
      "gauge",
      "counter",
      "histogram",
      "histogram",
      "gauge",
      "gauge",
      "counter",
    ]);
  });

  it("tell their histograms' observations one by one, and a listener that throws changes nothing", async () => {
    const seen: WorkDurations[] = [];
    const { clock, queue } = setUpQueue({
      onDone: (durations) => {
        seen.push(durations);
        throw new Error("listener");
      },
    });
    queue.add("a");
    await clock.advance(30);
    await queue.get();
    await clock.advance(200);
    queue.done("a");
    queue.done("a");
    expect(seen).toEqual([{ queuedMs: 30, workedMs: 200 }]);
  });

  it("carry the name default where none is given", () => {
    for (const { labels } of new WorkQueue().metrics()) expect(labels).toEqual({ name: "default" });
  });

  it("count the keys that have to run, and the adds that were not absorbed", async () => {
    const { queue, value } = setUp();
    for (const key of ["a", "a", "b"]) queue.add(key);
    expect([value("depth"), value("adds_total")]).toEqual([2, 2]);
    await queue.get();
    queue.add("a");
    queue.add("a");
    expect([value("depth"), value("adds_total")]).toEqual([2, 3]);
    queue.done("a");
    expect([value("depth"), value("adds_total")]).toEqual([2, 3]);
    queue.shutdown();
    expect([value("depth"), value("adds_total")]).toEqual([2, 3]);
  });

  it("measure the waiting from the add, and the work from the get, into cumulative buckets", async () => {
    const { queue, clock, histogram } = setUp();
    const cumulative = (name: string) => histogram(name).buckets.map(({ count }) => count);
    queue.add("a");
    queue.add("b");
    await clock.advance(100);
    await queue.get();
    await clock.advance(2_000);
    queue.done("a");
    await queue.get();
    await clock.advance(10_001);
    queue.done("b");
    expect(histogram("queue_duration_seconds")).toMatchObject({ sum: 2.2, count: 2 });
    expect(cumulative("queue_duration_seconds")).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 2]);
    expect(histogram("work_duration_seconds")).toMatchObject({ sum: 12.001, count: 2 });
    expect(cumulative("work_duration_seconds")).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });

  it("measure the waiting of a key added while in process from that add", async () => {
    const { queue, clock, histogram } = setUp();
    queue.add("a");
    await queue.get();
    queue.add("a");
    await clock.advance(500);
    queue.done("a");
    await clock.advance(250);
    await queue.get();
    expect(histogram("queue_duration_seconds")).toMatchObject({ sum: 0.75, count: 2 });
  });

  it("show work that doesn't end", async () => {
    const { queue, clock, value } = setUp();
    queue.add("a");
    await queue.get();
    await clock.advance(3_000);
    queue.add("b");
    await queue.get();
    await clock.advance(2_000);
    expect(value("unfinished_work_seconds")).toBe(7);
    expect(value("longest_running_processor_seconds")).toBe(5);
    queue.done("a");
    expect(value("unfinished_work_seconds")).toBe(2);
    expect(value("longest_running_processor_seconds")).toBe(2);
    queue.done("b");
    expect(value("unfinished_work_seconds")).toBe(0);
    expect(value("longest_running_processor_seconds")).toBe(0);
  });

  it("count adds after a delay as retries, with backoff or without, and none after the end", () => {
    const { queue, clock, value } = setUp();
    queue.addRateLimited("a");
    queue.addRateLimited("a");
    queue.addAfter("b", 10);
    queue.addAfter("b", 0);
    expect(value("retries_total")).toBe(4);
    queue.shutdown();
    queue.addRateLimited("a");
    expect(value("retries_total")).toBe(4);
    expect(clock.pendingTimers).toBe(0);
  });

  it("are not bent by a wall clock that is set back", async () => {
    const { queue, clock, value, histogram } = setUp();
    queue.add("a");
    await clock.set(0);
    await clock.advance(1_000);
    await queue.get();
    await clock.set(0);
    await clock.advance(1_000);
    expect(value("unfinished_work_seconds")).toBe(1);
    queue.done("a");
    expect(histogram("queue_duration_seconds").sum).toBe(1);
    expect(histogram("work_duration_seconds").sum).toBe(1);
  });
});
