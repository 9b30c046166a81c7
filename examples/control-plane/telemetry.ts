import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import type { EventListener } from "evenkeel";
import { instrument } from "evenkeel/otel";

/** The metrics of this copy. */
export interface Telemetry {
  /** What makes metrics of events. */
  readonly onEvent: EventListener;
  /** All of them, in Prometheus' text format. */
  collect(): Promise<string>;
}

/** Keeps metrics where Prometheus can fetch them. It could as well send them to any collector of OpenTelemetry. */
export function startTelemetry(): Telemetry {
  // Our own server serves them.
  const reader = new PrometheusExporter({ preventServerStart: true });
  const meterProvider = new MeterProvider({ readers: [reader] });
  return {
    onEvent: instrument({ meterProvider }),
    async collect() {
      const { resourceMetrics, errors } = await reader.collect();
      for (const error of errors) console.error(`metrics: ${error}`);
      return new PrometheusSerializer().serialize(resourceMetrics);
    },
  };
}
