import { type Span, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { recoverAbandoned } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { executionSpans } from "../../../adapters/otel/execution-spans.ts";
import { instrument } from "../../../adapters/otel/otel.ts";
import type { EvenkeelEvent } from "../../../src/events.ts";
import { deferred, setUp, thrownBy, watch } from "../../idempotency/set-up.ts";
import { setUpTelemetry } from "./telemetry.ts";

/** A span in short: its name, how it ended, and why. */
function inShort({ name, attributes, status }: ReadableSpan): string {
  const outcome = attributes["evenkeel.outcome"] ?? attributes["evenkeel.wait_outcome"] ?? "";
  const error = status.code === SpanStatusCode.ERROR ? ` ${attributes["error.type"]}` : "";
  return `${name} ${outcome}${error}`.trim();
}

const epochMs = ([seconds, nanos]: readonly [number, number]): number => seconds * 1_000 + nanos / 1e6;

describe("the span of an attempt", () => {
  it("lasts from its claim to its end, below what is active where the call was made", async () => {
    const { onEvent, spans, inside } = setUpTelemetry();
    const { once, clock } = setUp();
    const began = clock.now();
    const charge = once(() => clock.sleep(700), { onEvent });
    await inside("request", async (request) => {
      const called = charge(undefined);
      await clock.advance(700);
      await called;
      const [span] = spans();
      expect(span).toMatchObject({
        name: "execute charge",
        parentSpanContext: { traceId: request.spanContext().traceId, spanId: request.spanContext().spanId },
        attributes: { "evenkeel.operation": "charge", "evenkeel.attempt": 1, "evenkeel.outcome": "completed" },
        status: { code: SpanStatusCode.UNSET },
      });
      expect(epochMs(span?.startTime ?? [0, 0])).toBe(began);
      expect(epochMs(span?.endTime ?? [0, 0])).toBe(began + 700);
    });
  });

  it("does not mix with those of others at the same time, whatever waits and whoever gets the turn", async () => {
    const { onEvent, spans, inside } = setUpTelemetry();
    const { once, clock } = setUp();
    const requests = new Map<string, Span>();
    const charge = once((at: number) => clock.sleep(100 * (at % 7)).then(() => at), { onEvent, inFlight: "wait" });
    const calls = Array.from({ length: 60 }, (_, at) =>
      inside(`request ${at}`, (request) => {
        requests.set(request.spanContext().spanId, request);
        return charge(at % 20, { key: `k${at % 20}` });
      }),
    );
    await clock.advance(60_000);
    await Promise.all(calls);
    const ours = spans().filter(({ name }) => !name.startsWith("request"));
    const executions = ours.filter(({ name }) => name === "execute charge");
    const replays = ours.filter(({ name }) => name === "replay charge");
    expect([executions.length, replays.length]).toEqual([20, 40]);
    const parents = [...executions, ...replays].map(({ parentSpanContext }) => parentSpanContext?.spanId ?? "");
    expect(new Set(parents)).toEqual(new Set(requests.keys()));
    for (const span of ours) {
      const request = requests.get(span.parentSpanContext?.spanId ?? "");
      expect(span.spanContext().traceId).toBe(request?.spanContext().traceId);
    }
    for (const [at, { links }] of replays.entries()) {
      expect(links, `replay ${at}`).toHaveLength(1);
      expect(executions.map((span) => span.spanContext().spanId)).toContain(links[0]?.context.spanId);
    }
    const linked = new Map<string, number>();
    for (const { links } of replays)
      linked.set(links[0]?.context.spanId ?? "", (linked.get(links[0]?.context.spanId ?? "") ?? 0) + 1);
    expect([...linked.values()]).toEqual(Array.from({ length: 20 }, () => 2));
  });

  it("does not mix with that of another ledger, whose keys and tokens are the same", async () => {
    const { onEvent, spans, value } = setUpTelemetry();
    const [tenant, other] = [setUp(), setUp()];
    const slow = tenant.once(() => tenant.clock.sleep(300).then(() => Promise.reject(new RangeError("no"))), {
      onEvent,
    });
    const fast = other.once(() => other.clock.sleep(100).then(() => "done"), { onEvent });
    const calls = [watch(slow(undefined)), watch(fast(undefined))];
    await other.clock.advance(100);
    await tenant.clock.advance(300);
    expect(calls.map(({ state }) => state)).toEqual(["rejected", "fulfilled"]);
    expect(spans().map(inShort)).toEqual(["execute charge completed", "execute charge released RangeError"]);
    expect(await value("idempotency_execution_duration_seconds_sum", { outcome: "released" })).toBe(0.3);
    expect(await value("idempotency_execution_duration_seconds_sum", { outcome: "completed" })).toBe(0.1);
  });

  it("says how it ended: released, stale, without a durable outcome, or turned away by a resolver", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const partition = new Partition();
    const { once, rival, crash, clock } = setUp({ partition });
    await thrownBy(once(() => Promise.reject(new RangeError("no")), { onEvent })(undefined, { key: "a" }));
    expect(spans().map(inShort)).toEqual(["execute charge released RangeError"]);

    const gates = [deferred<number>(), deferred<number>(), deferred<number>()] as const;
    const [stale, staleThrowing, uncommitted] = gates;
    for (const [key, gate] of Object.entries({ stale, staleThrowing }))
      watch(once(() => gate.promise, { onEvent, leaseMs: 3_000 })(undefined, { key }));
    await clock.advance(0);
    partition.cut("both");
    await clock.advance(3_000);
    for (const key of ["stale", "staleThrowing"]) await rival(() => 2)(undefined, { key });
    partition.heal();
    stale.resolve(1);
    staleThrowing.reject(new TypeError("stale"));
    await clock.advance(0);
    const lost = spans().slice(1);
    expect(lost.map(inShort).sort()).toEqual(["execute charge stale LEASE_LOST", "execute charge stale LEASE_LOST"]);
    expect(lost[0]?.events.map(({ name, attributes }) => [name, attributes?.["evenkeel.reason"]])).toContainEqual([
      "lease_lost",
      "deadline",
    ]);

    watch(once(() => uncommitted.promise, { onEvent, leaseMs: 3_000 })(undefined, { key: "b" }));
    await clock.advance(0);
    partition.cut("both");
    uncommitted.resolve(1);
    await clock.advance(10_000);
    partition.heal();
    expect(spans().slice(3).map(inShort)).toEqual(["execute charge complete_failed STORE_UNAVAILABLE"]);

    await crash(() => {}, undefined, { key: () => "c" });
    await thrownBy(once(() => 1, { onEvent, onAbandoned: () => "unknown" as const })(undefined, { key: "c" }));
    expect(spans().slice(4).map(inShort)).toEqual(["execute charge rejected ABANDONED"]);
    expect(spans()[4]?.attributes["evenkeel.attempt"]).toBe(2);
  });

  it("is an error where the function threw, also when the ledger has an outcome: the error itself, or an early one", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const { once } = setUp();
    const declined = Object.assign(new Error("no"), { code: "E_FUNDS" });
    const storing = once(() => Promise.reject(declined), { onEvent, onError: "store", cache: { maxEntries: 1 } });
    for (const _ of ["first", "retry"]) await thrownBy(storing(undefined, { key: "a" }));
    const early = once((_: undefined, ctx) => ctx.complete(1).then(() => Promise.reject(new RangeError("late"))), {
      onEvent,
    });
    await thrownBy(early(undefined, { key: "b" }));
    expect(await early(undefined, { key: "b" })).toBe(1);
    expect(spans().map(inShort)).toEqual([
      "execute charge completed E_FUNDS",
      "replay charge  E_FUNDS",
      "execute charge completed RangeError",
      "replay charge",
    ]);
  });

  it("is no error where a sweep grants a retry, because nothing was thrown", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const { crash, store, clock } = setUp();
    await crash();
    await recoverAbandoned({ store, clock, onEvent, resolver: () => "retry" });
    expect(spans().map(inShort)).toEqual(["execute charge released"]);
  });

  it("is recorded also by an SDK that was registered after the listener was made", async () => {
    const onEvent = instrument();
    const { tracerProvider, spans } = setUpTelemetry();
    onTestFinished(() => trace.disable());
    trace.setGlobalTracerProvider(tracerProvider);
    const { once } = setUp();
    await once(() => 1, { onEvent })(undefined);
    expect(spans().map(inShort)).toEqual(["execute charge completed"]);
  });

  it("is not what the function runs in: that is its caller's", async () => {
    const { onEvent, inside } = setUpTelemetry();
    const { once } = setUp();
    const charge = once(async () => trace.getActiveSpan()?.spanContext().spanId, { onEvent });
    await inside("request", async (request) => {
      expect(await charge(undefined)).toBe(request.spanContext().spanId);
    });
  });

  it("notes outcomes that were ignored, and those that can't be replayed", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const { once } = setUp();
    await once(
      async (_: undefined, ctx) => {
        await ctx.complete(() => "no encoding");
        return "something else";
      },
      { onEvent },
    )(undefined);
    expect(spans()[0]?.events.map(({ name, attributes }) => [name, attributes])).toEqual([
      ["outcome_ignored", {}],
      ["tombstoned", { "evenkeel.reason": "not_encodable" }],
    ]);
  });
});

describe("the span of a replay", () => {
  it("is linked to the first run, and stands below its own caller", async () => {
    const { onEvent, spans, inside } = setUpTelemetry();
    const { once } = setUp();
    const charge = once(() => "done", { onEvent, cache: { maxEntries: 1 } });
    await inside("first", () => charge(undefined));
    const second = await inside("second", async (span) => {
      await charge(undefined);
      return span.spanContext();
    });
    const [execution, , replay] = spans();
    expect(execution?.name).toBe("execute charge");
    expect(replay).toMatchObject({
      name: "replay charge",
      parentSpanContext: { spanId: second.spanId },
      attributes: { "evenkeel.replayed_from": "cache" },
    });
    const { traceId, spanId } = execution?.spanContext() ?? {};
    expect(replay?.links).toMatchObject([{ context: { traceId, spanId, isRemote: true } }]);
    expect(replay?.spanContext().traceId).not.toBe(traceId);
  });

  it("has no link where the first run was not recorded, and nothing is kept then", async () => {
    const silent = setUpTelemetry({ sampled: false });
    const { once, record } = setUp();
    await silent.inside("request", () => once(() => "done", { onEvent: silent.onEvent })(undefined));
    const kept = await record();
    expect(kept?.status === "completed" && kept.outcome.bytes[0]).toBe(1);
    const { onEvent, spans } = setUpTelemetry();
    await once(() => "never", { onEvent })(undefined);
    expect(spans()).toMatchObject([{ name: "replay charge", links: [] }]);
    expect(silent.spans()).toEqual([]);
  });
});

describe("the span of a wait", () => {
  it("lasts as long as it did, and says how it ended", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const { once, clock } = setUp();
    const options = { onEvent, inFlight: "wait" } as const;
    watch(once(() => clock.sleep(5_000), options)(undefined));
    await clock.advance(1_000);
    const began = clock.now();
    watch(once(() => 2, { ...options, maxWaitMs: 2_000 })(undefined));
    watch(once(() => 2, options)(undefined));
    await clock.advance(2_000);
    const [timedOut] = spans();
    expect(timedOut && inShort(timedOut)).toBe("wait charge timeout WAIT_TIMEOUT");
    expect(epochMs(timedOut?.startTime ?? [0, 0])).toBe(began);
    expect(epochMs(timedOut?.endTime ?? [0, 0])).toBe(began + 2_000);
    await clock.advance(4_000);
    expect(spans().map(inShort).sort()).toEqual([
      "execute charge completed",
      "replay charge",
      "wait charge settled",
      "wait charge timeout WAIT_TIMEOUT",
    ]);
  });
});

describe("attempts that nothing ends", () => {
  it("are let go of when there are too many of them, the oldest first", async () => {
    const { tracerProvider, spans } = setUpTelemetry();
    const listen = executionSpans(tracerProvider.getTracer("test"));
    const claimed = (at: number): EvenkeelEvent => ({
      type: "claimed",
      at: 1_000_000 + at,
      operation: "charge",
      keyHash: String(at),
      attempt: 1,
      fencingToken: 1,
    });
    for (let at = 0; at < 10_003; at += 1) listen(claimed(at));
    expect(spans()).toHaveLength(3);
    expect(spans().map(({ startTime }) => epochMs(startTime))).toEqual([1_000_000, 1_000_001, 1_000_002]);
  });
});
