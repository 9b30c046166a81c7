/** What every sample has. Times are in seconds, as Prometheus wants them. */
interface SampleHead {
  /** In the form of Prometheus: `workqueue_depth`. */
  readonly name: string;
  /** One sentence: what is measured. */
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A number at one moment. A counter only rises while its owner lives. */
export interface NumberSample extends SampleHead {
  readonly kind: "counter" | "gauge";
  readonly value: number;
}

/** How many observations were at most `le`, those of all smaller buckets included. */
export interface HistogramBucket {
  readonly le: number;
  readonly count: number;
}

/** A distribution at one moment. */
export interface HistogramSample extends SampleHead {
  readonly kind: "histogram";
  /** By rising `le`. The bucket of `+Inf` is left out: it is `count`. */
  readonly buckets: readonly HistogramBucket[];
  /** The sum of all observations. */
  readonly sum: number;
  /** How many observations there were. */
  readonly count: number;
}

/** One time series at one moment, for any exporter. */
export type MetricSample = NumberSample | HistogramSample;
