import { context, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  AlwaysOffSampler,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { afterEach } from "vitest";
import { type InstrumentedListener, instrument } from "../../../adapters/otel/otel.ts";

/** One time series of a scrape. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A process with the real SDK in it: what it would answer a scrape, and the spans that it would send. */
export function setUpTelemetry(options: { readonly sampled?: boolean } = {}) {
  const manager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(manager);
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meterProvider = new MeterProvider({ readers: [exporter] });
  const memory = new InMemorySpanExporter();
  const tracerProvider = new TracerProvider({
    spanProcessors: [new SimpleSpanProcessor({ exporter: memory })],
    ...(options.sampled === false ? { sampler: new AlwaysOffSampler() } : {}),
  });
  ends.push(async () => {
    context.disable();
    await Promise.all([meterProvider.shutdown(), tracerProvider.shutdown()]);
  });
  const onEvent: InstrumentedListener = instrument({ meterProvider, tracerProvider });
  const tracer = tracerProvider.getTracer("test");

  /** What Prometheus would read. */
  async function scrape(): Promise<string> {
    const { resourceMetrics, errors } = await exporter.collect();
    if (errors.length > 0) throw errors[0];
    return new PrometheusSerializer().serialize(resourceMetrics);
  }

  async function series(): Promise<Series[]> {
    return seriesOf(await scrape());
  }

  return {
    onEvent,
    meterProvider,
    tracerProvider,
    scrape,
    series,
    /** The one value of a name with at least these labels. */
    async value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
      const found = (await series()).filter(
        (one) => one.name === name && Object.entries(labels).every(([label, text]) => one.labels[label] === text),
      );
      if (found.length > 1) throw new Error(`${found.length} series ${name}${JSON.stringify(labels)}`);
      return found[0]?.value;
    },
    /** The spans that have ended, in this order. */
    spans: (): ReadableSpan[] => memory.getFinishedSpans(),
    /** Does something inside of a span of the caller's own. */
    async inside<T>(name: string, work: (span: Span) => Promise<T>): Promise<T> {
      const span = tracer.startSpan(name, {}, ROOT_CONTEXT);
      try {
        return await context.with(trace.setSpan(ROOT_CONTEXT, span), () => work(span));
      } finally {
        span.end();
      }
    },
  };
}

/** The series of a text as Prometheus reads it. */
export function seriesOf(text: string): Series[] {
  return text.split("\n").flatMap((line) => {
    if (line === "" || line.startsWith("#")) return [];
    const [, name = "", labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === "") throw new Error(`not a series: ${line}`);
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", text = ""]) => [label, text]);
    const { otel_scope_name: _scope, ...own } = Object.fromEntries(pairs) as Record<string, string>;
    return [{ name, labels: own, value: Number(value) }];
  });
}
