import { type MeterProvider, metrics, type TracerProvider, trace } from "@opentelemetry/api";
import type { EvenkeelEvent } from "../../src/events.ts";
import { acceptOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import { electionMetrics } from "./election-metrics.ts";
import { executionMetrics } from "./execution-metrics.ts";
import { executionSpans } from "./execution-spans.ts";
import { housekeepingMetrics } from "./housekeeping-metrics.ts";
import { passSpans } from "./pass-spans.ts";
import { reconcilerMetrics } from "./reconciler-metrics.ts";
import { shardMetrics } from "./shard-metrics.ts";

/** Options of {@link instrument}. */
export interface InstrumentOptions {
  /** Where metrics go. Defaults to the global one at the time of the call. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Where spans go. Defaults to the global one. */
  readonly tracerProvider?: TracerProvider | undefined;
}

/** A listener for the option `onEvent` of everything that has one. */
export type InstrumentedListener = (event: EvenkeelEvent) => void;

const providerOf = (method: string) =>
  rules.custom(`an object with ${method}()`, (value) => {
    return typeof (value as Record<string, unknown> | null | undefined)?.[method] === "function";
  });

const RULES: OptionRules = { meterProvider: providerOf("getMeter"), tracerProvider: providerOf("getTracer") };

/** The name of our meter and our tracer. */
const SCOPE = "evenkeel";

/**
 * Makes OpenTelemetry metrics and spans of events: one listener for a whole process. `docs/observability.md` names every metric, label,
 * span and attribute; none of them carries a key, a scope, an id of a resource, an input or an outcome.
 *
 * It only listens: a function runs in the context of its caller and not inside of its attempt's span, because an event comes and goes
 * before the function is called.
 *
 * Without an SDK in the process nothing is recorded. Register it before this call: of one that comes later the API takes up spans, and
 * no metrics.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 * @example
 * ```ts
 * import { withIdempotency } from "evenkeel";
 * import { instrument } from "evenkeel/otel";
 *
 * const onEvent = instrument();
 * const charge = withIdempotency(run, { store, operation: "charge", onEvent });
 * ```
 */
export function instrument(options: InstrumentOptions = {}): InstrumentedListener {
  acceptOptions("instrument", RULES, options);
  const { meterProvider = metrics.getMeterProvider(), tracerProvider = trace.getTracerProvider() } = options;
  const meter = meterProvider.getMeter(SCOPE);
  const tracer = tracerProvider.getTracer(SCOPE);
  const listeners = [
    executionMetrics(meter),
    executionSpans(tracer),
    reconcilerMetrics(meter),
    passSpans(tracer),
    electionMetrics(meter),
    shardMetrics(meter),
    housekeepingMetrics(meter),
  ];
  return (event) => {
    for (const listener of listeners) listener(event);
  };
}
