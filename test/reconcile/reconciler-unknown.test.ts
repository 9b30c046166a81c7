import { fixedThreshold, type ObservedResource, type ReconcilerOptions } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, eventsOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

type Observe = NonNullable<ReconcilerOptions["observe"]>;

function never(): Promise<never> {
  return new Promise(() => {});
}

/** A reconciler that keeps one resource too few and one too many, and is asked to look through `observe`. */
async function setUpBlind(observe: Observe) {
  const fleet = fakeFleet();
  let current: Observe = () => [...fleet.running].map(([externalId, item]) => ({ ...item, externalId }));
  const test = setUpReconciler({
    ...fleet.callbacks,
    observe: (ctx) => current(ctx),
    actionTimeoutMs: 5_000,
    // Nobody beats here.
    staleness: fixedThreshold({ staleAfterMs: 3_600_000, startupGraceMs: 3_600_000 }),
  });
  const { reconciler, clock } = test;
  await reconciler.setDesired([{ id: "a" }, { id: "b" }]);
  await reconciler.reconcile();
  await clock.advance(40_000);
  await reconciler.setDesired([{ id: "b" }, { id: "c" }]);
  const calls = fleet.calls.length;
  const seeing = current;
  current = observe;
  return { ...test, fleet, newCalls: () => fleet.calls.slice(calls), recover: () => (current = seeing) };
}

describe("an observe that can't be relied on", () => {
  const rubbish: readonly [string, Observe, string][] = [
    ["throws", () => Promise.reject(new RangeError("secret")), "RangeError"],
    [
      "throws at once",
      () => {
        throw new RangeError("secret");
      },
      "RangeError",
    ],
    ["answers null", () => null as never, "it must answer an iterable"],
    ["answers undefined", () => undefined as never, "it must answer an iterable"],
    ["answers a number", () => 7 as never, "it must answer an iterable"],
    ["answers a text", () => "web-0" as never, "it must answer an iterable"],
    ["answers an object", () => ({ items: [] }) as never, "it must answer an iterable"],
    ["answers an object without items", () => ({ complete: true }) as never, "it must answer an iterable"],
    ["answers ids", () => ["a", "b"] as never, "the item at 0 must be an object with an id"],
    ["answers an item without an id", () => [{ id: "a" }, {}] as never, "the id of the item at 1"],
    ["answers an empty id", () => [{ id: "" }], "the id of the item at 0"],
    ["answers one twice", () => [{ id: "a" }, { id: "a" }], 'the resource "a" comes twice'],
    ["answers an incarnation of 0", () => [{ id: "a", incarnation: 0 }], 'the incarnation of "a"'],
    ["answers an incarnation of 1.5", () => [{ id: "a", incarnation: 1.5 }], 'the incarnation of "a"'],
    ["answers a beat that is no time", () => [{ id: "a", lastHeartbeatAt: Number.NaN }], 'the lastHeartbeatAt of "a"'],
    ["answers a health that is none", () => [{ id: "a", healthy: "yes" }] as never, 'the healthy of "a"'],
  ];

  it.each(rubbish)(
    "%s: nothing is done, the condition names it, and the next answer is acted on",
    async (_, observe, named) => {
      const { reconciler, newCalls, recover, events } = await setUpBlind(observe);
      const report = await reconciler.reconcile();
      expect(report.actions).toEqual([]);
      expect(report.held.every(({ heldBy }) => heldBy === "unknown")).toBe(true);
      expect(report.converged).toBe(false);
      expect(conditionsOf(report).ObserveFailed).toContain(named);
      expect(JSON.stringify(report.conditions)).not.toContain("secret");
      expect(newCalls()).toEqual([]);
      expect(eventsOf(events, "answer_unknown")).toMatchObject([{ of: "observe" }]);
      recover();
      const next = await reconciler.reconcile();
      expect(conditionsOf(next).ObserveFailed).toBeUndefined();
      expect(newCalls().sort()).toEqual(["create c/1", "terminate a/1"]);
    },
  );

  it("hangs: it is given up after actionTimeoutMs, told so by its signal, and nothing is done", async () => {
    let signal: AbortSignal | undefined;
    const { reconciler, newCalls, clock } = await setUpBlind((ctx) => {
      signal = ctx.signal;
      return never();
    });
    const reported = reconciler.reconcile();
    await clock.advance(4_999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    const report = await reported;
    expect(signal?.aborted).toBe(true);
    expect(conditionsOf(report).ObserveFailed).toContain("5000 ms");
    expect(newCalls()).toEqual([]);
  });

  it("never ends its answer: it is given up all the same", async () => {
    function* endless(): Generator<ObservedResource> {
      for (let n = 0; ; n += 1) yield { id: `x-${n}` };
    }
    const { reconciler, clock, newCalls } = await setUpBlind(() => endless());
    const reported = reconciler.reconcile();
    await clock.advance(5_000);
    expect(conditionsOf(await reported).ObserveFailed).toContain("5000 ms");
    expect(newCalls()).toEqual([]);
  });

  it("answers in part: nothing is missing or gone, and what is known to be surplus ends", async () => {
    const { reconciler, newCalls } = await setUpBlind(() => ({
      complete: false,
      items: [{ id: "a", incarnation: 1 }],
    }));
    const report = await reconciler.reconcile();
    // c has no row, so nobody knows whether it is there; b is not seen, and not replaced for that.
    expect(newCalls()).toEqual(["terminate a/1"]);
    expect(report.held).toMatchObject([{ type: "create", id: "c", heldBy: "unknown" }]);
    expect(report.converged).toBe(false);
  });

  it("backs the loop off while it fails, and forgets that when it succeeds", async () => {
    let asked = 0;
    const { reconciler, clock, recover, newCalls } = await setUpBlind(() => {
      asked += 1;
      throw new Error("down");
    });
    reconciler.start();
    await clock.advance(1_000);
    const inFirst = asked;
    asked = 0;
    await clock.advance(29_000);
    expect(inFirst).toBeGreaterThan(2);
    expect(asked).toBeLessThan(29 * inFirst * 0.5);
    recover();
    await clock.advance(30_000);
    expect(newCalls().sort()).toEqual(["create c/1", "terminate a/1"]);
    await reconciler.stop();
  });
});

describe("a desired that can't be relied on", () => {
  const rubbish: readonly [string, NonNullable<ReconcilerOptions["desired"]>, string][] = [
    ["throws", () => Promise.reject(new RangeError("secret")), "RangeError"],
    ["answers -1", () => -1, "whole number"],
    ["answers 1.5", () => 1.5, "whole number"],
    ["answers NaN", () => Number.NaN, "whole number"],
    ["answers null", () => null as never, "it must answer an iterable"],
    ["answers an id twice", () => [{ id: "a" }, { id: "a" }], '"a"'],
    ["answers texts", () => ["a"] as never, "id"],
    ["answers an object", () => ({ resources: [] }) as never, "it must answer an iterable"],
  ];

  it.each(rubbish)(
    "%s: nothing is done, the condition names it, and the next answer is acted on",
    async (_, bad, named) => {
      let desired: NonNullable<ReconcilerOptions["desired"]> = () => 2;
      const { reconciler, fleet, ledger } = setUpReconciler({ desired: (ctx) => desired(ctx) });
      await reconciler.reconcile();
      expect(fleet.ids()).toEqual(["web-0", "web-1"]);
      const before = await ledger.desired();
      desired = bad;
      const report = await reconciler.reconcile();
      expect(report.actions).toEqual([]);
      expect(report.converged).toBe(false);
      expect(conditionsOf(report).DesiredFailed).toContain(named);
      expect(await ledger.desired()).toEqual(before);
      desired = () => 1;
      const next = await reconciler.reconcile();
      expect(actionsOf(next)).toEqual(["terminate web-1/1"]);
      expect(conditionsOf(next)).toEqual({ Converged: "AsDesired" });
    },
  );

  it("hangs: it is given up after actionTimeoutMs", async () => {
    const { reconciler, clock, fleet } = setUpReconciler({ desired: never, actionTimeoutMs: 5_000 });
    const reported = reconciler.reconcile();
    await clock.advance(5_000);
    expect(conditionsOf(await reported).DesiredFailed).toContain("5000 ms");
    expect(fleet.calls).toEqual([]);
  });

  it("answers in part: what it names is made, what it lacks stays", async () => {
    let resources = [{ id: "a" }, { id: "b" }];
    let complete = true;
    const { reconciler, fleet } = setUpReconciler({ desired: () => ({ complete, resources }) });
    await reconciler.reconcile();
    complete = false;
    resources = [{ id: "c" }];
    const report = await reconciler.reconcile();
    expect(report.converged).toBe(false);
    expect(fleet.ids()).toEqual(["a", "b", "c"]);
    complete = true;
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual(["c"]);
  });

  it("keeps its answer in the ledger, once", async () => {
    const { reconciler, ledger, storeCalls } = setUpReconciler({ desired: () => [{ id: "a", spec: { size: 1 } }] });
    await reconciler.reconcile();
    await reconciler.reconcile();
    expect(await ledger.desired()).toEqual({ generation: 1, resources: [{ id: "a", spec: { size: 1 } }] });
    expect(storeCalls.filter((call) => call === "resources.setDesired")).toHaveLength(1);
  });

  it("is refused beside setDesired()", async () => {
    const { reconciler, ledger } = setUpReconciler({ desired: () => 1 });
    await expect(reconciler.setDesired(2)).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: expect.stringContaining("`desired`"),
    });
    expect((await ledger.desired()).generation).toBe(0);
  });
});

describe("setDesired()", () => {
  it.each([[-1], [1.5], [Number.NaN], [Number.POSITIVE_INFINITY], ["3"], [null], [[{ id: "a" }, { id: "a" }]]])(
    "refuses %j and keeps what was desired",
    async (bad) => {
      const { reconciler } = setUpReconciler();
      await reconciler.setDesired(2);
      await expect(reconciler.setDesired(bad as never)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
      expect(await reconciler.status()).toMatchObject({ generation: 1, desired: 2 });
    },
  );

  it("0 acts at once, also while a create of the pass before hangs", async () => {
    const { reconciler, clock, fleet } = setUpReconciler({ resyncIntervalMs: 3_600_000 });
    await reconciler.setDesired(20);
    await reconciler.reconcile();
    const { create } = fleet.callbacks;
    const hung = setUpReconciler({
      ...fleet.callbacks,
      create: (resource, ctx) => (resource.id === "web-2" ? never() : create(resource, ctx)),
    });
    await hung.reconciler.setDesired(3);
    hung.reconciler.start();
    await settle(hung.clock);
    await hung.reconciler.setDesired(0);
    await settle(hung.clock);
    expect(await hung.reconciler.status()).toMatchObject({ observed: { PROVISIONED: 0, TERMINATED: 2, PENDING: 1 } });
    await reconciler.setDesired(0);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    const stopped = hung.reconciler.stop({ graceMs: 0 });
    await hung.clock.advance(1_000);
    await stopped;
  });
});
