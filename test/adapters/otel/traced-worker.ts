import { trace } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { instrument } from "../../../adapters/otel/otel.ts";
import { withIdempotency } from "../../../src/index.ts";
import { openLedger } from "../../support/open-ledger.ts";
import { serve } from "../../support/workers.ts";

/** One process of a service that is traced: runs idempotent calls on a ledger, and tells the spans that it would send. */
const [, , url = "", mode = "traced"] = process.argv;

/** A span, as far as tests compare it. */
export interface SpanInShort {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
}

export interface TracedAnswer {
  readonly value: unknown;
  readonly spans: readonly SpanInShort[];
}

const { store } = await openLedger(url);
const exporter = new InMemorySpanExporter();
if (mode === "traced")
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));

const charge = withIdempotency(async (_: undefined, ctx) => ({ paidBy: process.pid, attempt: ctx.attempt }), {
  store,
  operation: "charge",
  leaseMs: 60_000,
  inFlight: "wait",
  onEvent: instrument(),
});

serve(async ({ key }: { key: string }): Promise<TracedAnswer> => {
  exporter.reset();
  const value = await charge(undefined, { key });
  const spans = exporter.getFinishedSpans().map((span): SpanInShort => {
    const { traceId, spanId } = span.spanContext();
    const links = span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId }));
    return { name: span.name, traceId, spanId, links };
  });
  return { value, spans };
});
