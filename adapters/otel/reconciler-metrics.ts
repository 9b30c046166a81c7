import type { Attributes, Meter, Observable } from "@opentelemetry/api";
import type { EvenkeelEvent, ReconcilerEvent } from "../../src/events.ts";
import type { MetricSample } from "../../src/metric-sample.ts";
import { namesakes } from "./namesakes.ts";
import { counter, durations, onFirstSight, zeros } from "./series.ts";

const ANSWERS: readonly Extract<ReconcilerEvent, { type: "answer_unknown" }>["of"][] = [
  "observe",
  "desired",
  "staleness",
  "surplus",
];
/** Those of the histograms of `WorkQueue.metrics()`, after client-go's. */
const QUEUE_BOUNDARIES_S = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10] as const;

type Durations = ReturnType<typeof durations>;

/**
 * The metrics `reconciler_*` and `workqueue_*`: what `Reconciler.metrics()` says is read whenever somebody collects; of two reconcilers
 * of one name the newer is asked, and one that was stopped no longer.
 */
export function reconcilerMetrics(meter: Meter): (event: EvenkeelEvent) => void {
  const reconcilers = namesakes();
  let instruments: ReadonlyMap<string, Observable> | undefined;
  const queued = durations(
    meter,
    {
      name: "workqueue_queue_duration_seconds",
      help: "How long a key waited before it was handed out, in seconds.",
    },
    QUEUE_BOUNDARIES_S,
  );
  const worked = durations(
    meter,
    { name: "workqueue_work_duration_seconds", help: "How long processing a key took, in seconds." },
    QUEUE_BOUNDARIES_S,
  );
  const passes: Durations = durations(meter, {
    name: "reconciler_pass_duration_seconds",
    help: "How long passes took, in seconds.",
  });
  const failures = counter(meter, {
    name: "reconciler_pass_failures_total",
    help: "Passes that ended because the store failed.",
  });
  const unknowns = counter(meter, {
    name: "reconciler_unknown_answers_total",
    help: "Answers of observe, desired, staleness or surplus from which nothing could be concluded.",
  });

  /** What a histogram has seen can't be read back into one: its observations come as events. */
  function observables(samples: readonly MetricSample[]): Map<string, Observable> {
    const byName = new Map<string, Observable>();
    for (const { name, help, kind } of samples) {
      if (kind === "histogram" || byName.has(name)) continue;
      const options = { description: help, ...(name.endsWith("_seconds") ? { unit: "s" } : {}) };
      const isCounter = kind === "counter";
      byName.set(
        name,
        isCounter ? meter.createObservableCounter(name, options) : meter.createObservableGauge(name, options),
      );
    }
    return byName;
  }

  function observe(samples: readonly MetricSample[]): void {
    if (instruments !== undefined) return;
    const created = observables(samples);
    instruments = created;
    meter.addBatchObservableCallback(
      (result) => {
        for (const read of reconcilers.asked())
          for (const sample of read()) {
            const instrument = created.get(sample.name);
            if (instrument !== undefined && sample.kind !== "histogram")
              result.observe(instrument, sample.value, { ...sample.labels } as Attributes);
          }
      },
      [...created.values()],
    );
  }

  const meet = onFirstSight((labels: { name: string }) => {
    zeros(failures, labels);
    zeros(unknowns, labels, "of", ANSWERS);
  });

  return (event) => {
    if (!("reconciler" in event)) return;
    const labels = { name: event.reconciler };
    meet(labels);
    switch (event.type) {
      case "reconciler_created":
      case "reconciler_restarted":
        reconcilers.came(event.reconciler, event.metrics);
        observe(event.metrics());
        return;
      case "reconciler_stopped":
        reconcilers.stopped(event.reconciler, event.metrics);
        return;
      case "work_finished":
        queued.record(event.queuedMs, labels);
        worked.record(event.workedMs, labels);
        return;
      case "pass_finished":
        passes.record(event.durationMs, labels);
        return;
      case "pass_failed":
        failures.add(1, labels);
        return;
      case "answer_unknown":
        unknowns.add(1, { ...labels, of: event.of });
        return;
    }
  };
}
