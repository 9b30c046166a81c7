import { metrics, trace } from "@opentelemetry/api";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { instrument } from "../../../adapters/otel/otel.ts";
import { deferred, setUp, thrownBy, watch } from "../../idempotency/set-up.ts";
import { setUpTelemetry } from "./telemetry.ts";

const CHARGE = { operation: "charge" };

describe("the metrics of executions", () => {
  it("are all there at 0 once their operation was seen", async () => {
    const { onEvent, series } = setUpTelemetry();
    expect((await series()).filter(({ name }) => name.startsWith("idempotency_"))).toEqual([
      { name: "idempotency_purged_records_total", labels: {}, value: 0 },
    ]);
    const { once } = setUp();
    await once(() => 1, { onEvent })(undefined);
    const counted = (await series())
      .filter(({ name }) => name.startsWith("idempotency_") && !name.includes("_duration_"))
      .map(({ name, labels: { operation: _, ...labels }, value }) => [name, ...Object.values(labels), value].join(" "));
    expect(counted.sort()).toEqual(
      [
        "idempotency_claims_total first 1",
        "idempotency_claims_total takeover 0",
        "idempotency_complete_failures_total 0",
        "idempotency_completions_total 1",
        "idempotency_in_flight 0",
        "idempotency_lease_losses_total deadline 0",
        "idempotency_lease_losses_total finalized 0",
        "idempotency_lease_losses_total lost 0",
        "idempotency_lease_losses_total missing 0",
        "idempotency_mismatches_total 0",
        "idempotency_outcomes_ignored_total 0",
        "idempotency_purged_records_total 0",
        "idempotency_rejections_total ABANDONED 0",
        "idempotency_rejections_total IN_PROGRESS 0",
        "idempotency_rejections_total RECORD_CORRUPT 0",
        "idempotency_rejections_total RESULT_NOT_REPLAYABLE 0",
        "idempotency_rejections_total TOO_MANY_WAITERS 0",
        "idempotency_rejections_total WAIT_TIMEOUT 0",
        "idempotency_releases_total 0",
        "idempotency_replays_total cache 0",
        "idempotency_replays_total store 0",
        "idempotency_replays_total waiting 0",
        "idempotency_stale_writes_total 0",
        "idempotency_store_errors_total false 0",
        "idempotency_store_errors_total true 0",
        "idempotency_tombstones_total not_encodable 0",
        "idempotency_tombstones_total too_large 0",
      ].sort(),
    );
  });

  it("count first runs, replays, rejections, mismatches, releases and tombstones, and how long each took", async () => {
    const { onEvent, value } = setUpTelemetry();
    const { once, clock } = setUp();
    const gate = deferred();
    const charge = once(() => gate.promise, { onEvent });
    const first = charge(undefined);
    await clock.advance(400);
    await thrownBy(charge(undefined));
    expect(await value("idempotency_in_flight", CHARGE)).toBe(1);
    gate.resolve();
    await first;
    expect(await value("idempotency_in_flight", CHARGE)).toBe(0);
    await charge(undefined);
    await thrownBy(once((_: number) => 1, { onEvent })(1));
    await thrownBy(once(() => Promise.reject(new Error("no")), { onEvent })(undefined, { key: "b" }));
    await once(() => () => 1, { onEvent })(undefined, { key: "c" });
    expect(await value("idempotency_claims_total", { kind: "first" })).toBe(3);
    expect(await value("idempotency_completions_total")).toBe(2);
    expect(await value("idempotency_replays_total", { from: "store" })).toBe(1);
    expect(await value("idempotency_rejections_total", { code: "IN_PROGRESS" })).toBe(1);
    expect(await value("idempotency_mismatches_total")).toBe(1);
    expect(await value("idempotency_releases_total")).toBe(1);
    expect(await value("idempotency_tombstones_total", { reason: "not_encodable" })).toBe(1);
    expect(await value("idempotency_execution_duration_seconds_count", { outcome: "completed" })).toBe(2);
    expect(await value("idempotency_execution_duration_seconds_sum", { outcome: "completed" })).toBe(0.4);
    expect(await value("idempotency_execution_duration_seconds_count", { outcome: "released" })).toBe(1);
    expect(await value("idempotency_execution_duration_seconds_bucket", { outcome: "completed", le: "0.25" })).toBe(1);
    expect(await value("idempotency_execution_duration_seconds_bucket", { outcome: "completed", le: "0.5" })).toBe(2);
  });

  it("count waits by how they ended", async () => {
    const { onEvent, value } = setUpTelemetry();
    const { once, clock } = setUp();
    const options = { onEvent, inFlight: "wait", maxWaitMs: 2_000 } as const;
    watch(once(() => clock.sleep(5_000), options)(undefined));
    const duplicate = watch(once(() => 2, options)(undefined));
    await clock.advance(2_000);
    expect(duplicate.state).toBe("rejected");
    const patient = watch(once(() => 2, { ...options, maxWaitMs: 10_000 })(undefined));
    await clock.advance(4_000);
    expect(patient.state).toBe("fulfilled");
    expect(await value("idempotency_wait_duration_seconds_sum", { outcome: "timeout" })).toBe(2);
    expect(await value("idempotency_wait_duration_seconds_count", { outcome: "settled" })).toBe(1);
    expect(await value("idempotency_rejections_total", { code: "WAIT_TIMEOUT" })).toBe(1);
    expect(await value("idempotency_replays_total", { from: "waiting" })).toBe(1);
  });

  it("count a lost lease once, the stale write, and the takeover by somebody else", async () => {
    const { onEvent, value } = setUpTelemetry();
    const partition = new Partition();
    const { once, rival, clock } = setUp({ partition });
    const gate = deferred<string>();
    const called = watch(once(() => gate.promise, { onEvent, leaseMs: 3_000 })(undefined));
    await clock.advance(0);
    partition.cut("both");
    await clock.advance(3_000);
    partition.heal();
    await rival(() => "the winner's", { onEvent })(undefined);
    gate.reject(new Error("stale"));
    await clock.advance(0);
    expect(called.value).toBe("the winner's");
    expect(await value("idempotency_lease_losses_total", { reason: "deadline" })).toBe(1);
    for (const reason of ["lost", "missing", "finalized"])
      expect(await value("idempotency_lease_losses_total", { reason })).toBe(0);
    expect(await value("idempotency_claims_total", { kind: "takeover" })).toBe(1);
    expect(await value("idempotency_in_flight")).toBe(0);
    expect(await value("idempotency_execution_duration_seconds_count", { outcome: "stale" })).toBe(1);
  });

  it("count what the store failed at, protected or not, and what could not be made durable", async () => {
    const { onEvent, value } = setUpTelemetry();
    const partition = new Partition();
    const { once, clock } = setUp({ partition });
    partition.cut("both");
    const closed = watch(once(() => 1, { onEvent })(undefined));
    const open = watch(once(() => 1, { onEvent, onStoreError: "open" })(undefined));
    await clock.advance(5_000);
    expect([closed.state, open.value]).toEqual(["rejected", 1]);
    partition.heal();
    const gate = deferred<number>();
    const own = watch(once(() => gate.promise, { onEvent, leaseMs: 3_000 })(undefined, { key: "b" }));
    await clock.advance(0);
    partition.cut("both");
    gate.resolve(7);
    await clock.advance(30_000);
    expect(own.value).toBe(7);
    expect(await value("idempotency_store_errors_total", { unprotected: "false" })).toBe(1);
    expect(await value("idempotency_store_errors_total", { unprotected: "true" })).toBe(1);
    expect(await value("idempotency_complete_failures_total")).toBe(1);
    expect(await value("idempotency_in_flight")).toBe(0);
  });

  it("tell operations apart, and keep attempts of many keys at once apart", async () => {
    const { onEvent, value } = setUpTelemetry();
    const { once, clock } = setUp();
    const calls = Array.from({ length: 50 }, (_, at) => {
      const operation = at % 2 === 0 ? "charge" : "refund";
      const work = () => clock.sleep(1_000 * (1 + (at % 5))).then(() => at);
      return once(work, { onEvent, operation })(undefined, { key: `k${at}` });
    });
    await clock.advance(1_000);
    expect(await value("idempotency_in_flight", { operation: "charge" })).toBe(20);
    expect(await value("idempotency_in_flight", { operation: "refund" })).toBe(20);
    await clock.advance(4_000);
    await Promise.all(calls);
    for (const operation of ["charge", "refund"]) {
      expect(await value("idempotency_in_flight", { operation })).toBe(0);
      expect(await value("idempotency_execution_duration_seconds_sum", { operation })).toBe(75);
    }
  });
});

describe("a listener that is told of no providers", () => {
  it("takes the global ones", async () => {
    const { meterProvider, tracerProvider, value, spans } = setUpTelemetry();
    metrics.setGlobalMeterProvider(meterProvider);
    trace.setGlobalTracerProvider(tracerProvider);
    try {
      await setUp().once(() => "done", { onEvent: instrument() })(undefined);
      expect(await value("idempotency_completions_total")).toBe(1);
      expect(spans()).toMatchObject([{ name: "execute charge" }]);
    } finally {
      metrics.disable();
      trace.disable();
    }
  });
});

describe("a listener without an SDK", () => {
  it("does nothing, and changes nothing", async () => {
    const { once, record } = setUp();
    const onEvent = instrument();
    const charge = once(() => "done", { onEvent });
    expect(await charge(undefined)).toBe("done");
    expect(await charge(undefined)).toBe("done");
    const kept = await record();
    expect(kept?.status === "completed" && kept.outcome.bytes[0]).toBe(1);
  });

  it.each([{ meterProvider: {} }, { tracerProvider: "global" }, { meters: 1 }])("refuses %j", (options) => {
    expect(() => instrument(options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringMatching(/^instrument: /) }),
    );
  });
});
