import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { askDesired, askObserved } from "../../src/reconcile/answers.ts";
import type { PassContext } from "../../src/reconcile/observation.ts";
import type { ReconcilerSettings } from "../../src/reconcile/settings.ts";

function setUp(callback: (ctx: PassContext) => unknown) {
  const clock = new ManualClock();
  const controller = new AbortController();
  const settings = { clock, actionTimeoutMs: 1_000, name: "web", observe: callback, desired: callback };
  const context: PassContext = { now: clock.now(), epoch: 3, signal: controller.signal };
  const observed = () => askObserved(settings as unknown as ReconcilerSettings<unknown>, context);
  const desired = () => askDesired(settings as unknown as ReconcilerSettings<unknown>, context);
  return { clock, controller, observed, desired, context };
}

describe("an observation", () => {
  it("may be any iterable, and is complete then", async () => {
    for (const answer of [[{ id: "a" }], new Set([{ id: "a" }]), new Map([["a", { id: "a" }]]).values()]) {
      expect(await setUp(() => answer).observed()).toEqual({ kind: "complete", value: [{ id: "a" }] });
    }
  });

  it("says itself whether it is complete", async () => {
    const items = [{ id: "a" }];
    expect(await setUp(async () => ({ complete: false, items })).observed()).toEqual({ kind: "partial", value: items });
    expect(await setUp(() => ({ complete: true, items })).observed()).toEqual({ kind: "complete", value: items });
  });

  it("is copied, without what nobody knows, and null is nothing", async () => {
    const item = { id: "a", externalId: null, incarnation: 2, lastHeartbeatAt: 5, healthy: false, zone: "b" };
    const answer = await setUp(() => [item]).observed();
    expect(answer).toEqual({
      kind: "complete",
      value: [{ id: "a", incarnation: 2, lastHeartbeatAt: 5, healthy: false }],
    });
  });

  it("of more than 2,000,000 is unknown, and is not read further", async () => {
    let read = 0;
    function* endless() {
      for (;;) {
        read += 1;
        yield { id: `r${read}` };
      }
    }
    const answer = await setUp(() => endless()).observed();
    expect(answer).toMatchObject({
      kind: "unknown",
      error: { code: "INVALID_OPTIONS", message: expect.stringContaining("2,000,000") },
    });
    expect(read).toBe(2_000_001);
  }, 30_000);

  it("may hold several of one id that can be told apart", async () => {
    const items = [{ id: "a", incarnation: 1 }, { id: "a", incarnation: 2 }, { id: "a", externalId: "x" }, { id: "a" }];
    expect(await setUp(() => items).observed()).toMatchObject({ kind: "complete", value: items });
    const twice = await setUp(() => [...items, { id: "a", incarnation: 2 }]).observed();
    expect(twice).toMatchObject({ kind: "unknown", error: { message: expect.stringContaining('"a" comes twice') } });
  });

  it("whose iterator throws is unknown", async () => {
    function* broken() {
      yield { id: "a" };
      throw new RangeError("gone");
    }
    expect(await setUp(broken).observed()).toMatchObject({ kind: "unknown", error: { name: "RangeError" } });
  });
});

describe("a question", () => {
  it("tells the time, the epoch and a signal of its own", async () => {
    let asked: PassContext | undefined;
    const { observed, context } = setUp((ctx) => {
      asked = ctx;
      return [];
    });
    await observed();
    expect(asked).toMatchObject({ now: context.now, epoch: 3 });
    expect(asked?.signal).not.toBe(context.signal);
    expect(asked?.signal.aborted).toBe(false);
  });

  it("is given up after its time, and what comes later is not heard", async () => {
    let answerLate: ((answer: unknown) => void) | undefined;
    const { clock, observed } = setUp(() => new Promise((resolve) => (answerLate = resolve)));
    const asked = observed();
    await clock.advance(1_000);
    expect(await asked).toMatchObject({ kind: "unknown", error: { code: "WAIT_TIMEOUT" } });
    answerLate?.([{ id: "a" }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("is given up when the reconciler stops, with its reason, and leaves no timer", async () => {
    let signal: AbortSignal | undefined;
    const { clock, controller, observed } = setUp((ctx) => {
      signal = ctx.signal;
      return new Promise(() => {});
    });
    const asked = observed();
    const reason = new Error("stopped");
    controller.abort(reason);
    expect(await asked).toEqual({ kind: "unknown", error: reason });
    expect(signal?.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it("that is asked when the reconciler has stopped already is given up too", async () => {
    const { clock, controller, observed } = setUp(() => new Promise(() => {}));
    controller.abort(new Error("stopped"));
    const asked = observed();
    await clock.advance(1);
    expect(await Promise.race([asked, "waiting"])).toMatchObject({ kind: "unknown" });
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("what is desired", () => {
  it("may be a number, an iterable, or say itself whether it is complete", async () => {
    expect(await setUp(() => 3).desired()).toMatchObject({ kind: "complete", value: { kind: "count", count: 3 } });
    expect(await setUp(() => [{ id: "a" }]).desired()).toMatchObject({ kind: "complete" });
    expect(await setUp(() => ({ complete: false, resources: [] })).desired()).toMatchObject({ kind: "partial" });
  });

  it.each([
    [-1],
    [0.5],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [null],
    ["3"],
    [{ complete: true }],
    [[{}]],
    [[null]],
  ])("is unknown where it is %j", async (answer) => {
    expect(await setUp(() => answer).desired()).toMatchObject({
      kind: "unknown",
      error: { code: "INVALID_OPTIONS", message: expect.stringContaining("desired") },
    });
  });
});
