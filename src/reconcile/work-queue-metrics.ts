import type { HistogramSample, MetricSample } from "../metric-sample.ts";

/** client-go's: from 10 ns to 10 s by powers of ten. */
const BUCKETS_S = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10] as const;

/** Durations in seconds, counted into {@link BUCKETS_S}. */
class DurationHistogram {
  /** By bucket, not cumulative; those over the last bucket are in {@link count} alone. */
  readonly #counts = BUCKETS_S.map(() => 0);
  #sum = 0;
  #count = 0;

  observe(ms: number): void {
    const seconds = ms / 1_000;
    this.#sum += seconds;
    this.#count += 1;
    const bucket = BUCKETS_S.findIndex((le) => seconds <= le);
    if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  sample(head: Pick<HistogramSample, "name" | "help" | "labels">): HistogramSample {
    let atMost = 0;
    const buckets = BUCKETS_S.map((le, bucket) => {
      atMost += this.#counts[bucket] ?? 0;
      return { le, count: atMost };
    });
    return { ...head, kind: "histogram", buckets, sum: this.#sum, count: this.#count };
  }
}

/** What the queue itself knows at the moment of the samples. */
export interface WorkQueueState {
  /** How many keys have to run, those included that are in process and have to run again. */
  readonly depth: number;
  /** For each key in process for how many milliseconds it has been. */
  readonly inProcessMs: Iterable<number>;
}

/**
 * The seven metrics of client-go's `util/workqueue`, by their names there. All are there, at 0, from the beginning; the one
 * label is the queue's `name`, never a key.
 */
export class WorkQueueMetrics {
  readonly #labels: { readonly name: string };
  readonly #queued = new DurationHistogram();
  readonly #worked = new DurationHistogram();
  #adds = 0;
  #retries = 0;

  constructor(name: string) {
    this.#labels = { name };
  }

  /** A key has to run that didn't have to before. */
  added(): void {
    this.#adds += 1;
  }

  /** A key was asked for after a delay. */
  retried(): void {
    this.#retries += 1;
  }

  /** A key was handed out, so many milliseconds after it was added. */
  taken(queuedMs: number): void {
    this.#queued.observe(queuedMs);
  }

  /** A key is done, so many milliseconds after it was handed out. */
  finished(workedMs: number): void {
    this.#worked.observe(workedMs);
  }

  samples({ depth, inProcessMs }: WorkQueueState): MetricSample[] {
    let unfinishedMs = 0;
    let longestMs = 0;
    for (const ms of inProcessMs) {
      unfinishedMs += ms;
      longestMs = Math.max(longestMs, ms);
    }
    return [
      this.#number("gauge", "workqueue_depth", "Keys that have to run.", depth),
      this.#number("counter", "workqueue_adds_total", "Adds that were not absorbed by an earlier one.", this.#adds),
      this.#queued.sample({
        name: "workqueue_queue_duration_seconds",
        help: "How long a key waited before it was handed out, in seconds.",
        labels: this.#labels,
      }),
      this.#worked.sample({
        name: "workqueue_work_duration_seconds",
        help: "How long processing a key took, in seconds.",
        labels: this.#labels,
      }),
      this.#number(
        "gauge",
        "workqueue_unfinished_work_seconds",
        "For how long all keys in process have been, summed, in seconds. One that rises without end is stuck.",
        unfinishedMs / 1_000,
      ),
      this.#number(
        "gauge",
        "workqueue_longest_running_processor_seconds",
        "For how long the key that has been in process longest has been, in seconds.",
        longestMs / 1_000,
      ),
      this.#number("counter", "workqueue_retries_total", "Adds after a delay, with backoff or without.", this.#retries),
    ];
  }

  #number(kind: "counter" | "gauge", name: string, help: string, value: number): MetricSample {
    return { kind, name, help, labels: this.#labels, value };
  }
}
