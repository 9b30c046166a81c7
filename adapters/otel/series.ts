import type { Attributes, Counter, Gauge, Histogram, Meter, UpDownCounter } from "@opentelemetry/api";

/** What is said of an instrument. `name` is as Prometheus wants it, its unit included. */
interface Said {
  readonly name: string;
  readonly help: string;
}

/** In seconds: from a replay out of memory to a callback that waits for a machine to boot. */
const DURATIONS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300] as const;

/** A counter. */
export function counter(meter: Meter, { name, help }: Said): Counter {
  return meter.createCounter(name, { description: help });
}

/** A number that goes up and down by what comes and goes. */
export function level(meter: Meter, { name, help }: Said): UpDownCounter {
  return meter.createUpDownCounter(name, { description: help });
}

/** A number that was last seen to be so. */
export function gauge(meter: Meter, { name, help }: Said): Gauge {
  return meter.createGauge(name, { description: help });
}

/** A distribution of durations in seconds. */
export function durations(
  meter: Meter,
  { name, help }: Said,
  boundaries: readonly number[] = DURATIONS_S,
): { record(ms: number, labels: Attributes): void } {
  const histogram: Histogram = meter.createHistogram(name, {
    description: help,
    unit: "s",
    advice: { explicitBucketBoundaries: [...boundaries] },
  });
  return { record: (ms, labels) => histogram.record(Math.max(0, ms) / 1_000, labels) };
}

/**
 * Sets counters to 0 when they can be known to exist and not only when they first count: `rate()` and alerts miss the first count
 * otherwise.
 */
export function onFirstSight<T>(begin: (labels: T) => void): (labels: T) => void {
  const seen = new Set<string>();
  return (labels) => {
    const name = JSON.stringify(labels);
    if (seen.has(name)) return;
    seen.add(name);
    begin(labels);
  };
}

/** Counts nothing, for each of these values of one label. */
export function zeros(
  instrument: Counter | UpDownCounter,
  labels: Attributes,
  label?: string,
  values: readonly string[] = [],
): void {
  if (label === undefined) instrument.add(0, labels);
  else for (const value of values) instrument.add(0, { ...labels, [label]: value });
}
