import {
  fixedThreshold,
  missedBeats,
  type ObservedResource,
  phiAccrual,
  type ReconcilerOptions,
  type StalenessPolicy,
} from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, eventsOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

async function setUpOne(options: Partial<ReconcilerOptions> = {}) {
  const test = setUpReconciler(options);
  await test.reconciler.setDesired(1);
  await test.reconciler.reconcile();
  return test;
}

describe("beats of an incarnation that was replaced", () => {
  it("are superseded and revive nothing", async () => {
    const { reconciler, clock, ledger } = await setUpOne();
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    await reconciler.reconcile();
    expect(await ledger.heartbeat("web-0", { incarnation: 1 })).toEqual({ accepted: false, superseded: true });
    expect(await ledger.heartbeat("web-0", { incarnation: 2 })).toEqual({ accepted: true, superseded: false });
    await reconciler.reconcile();
    expect(await ledger.heartbeat("web-0", { incarnation: 1 })).toEqual({ accepted: false, superseded: true });
    expect(await reconciler.status()).toMatchObject({ observed: { PROVISIONED: 1, TERMINATED: 1 }, converged: true });
  });
});

describe("what an observation says of a resource", () => {
  /** Observes exactly this. */
  async function setUpSeen(options: Partial<ReconcilerOptions> = {}) {
    const seen: ObservedResource[] = [];
    const test = await setUpOne({ observe: () => seen, ...options });
    const see = (...items: ObservedResource[]): void => {
      seen.splice(0, seen.length, ...items);
    };
    see({ id: "web-0", incarnation: 1 });
    return { ...test, see };
  }

  it("that it beat keeps it fresh, as a beat in the ledger does", async () => {
    const { reconciler, clock, see } = await setUpSeen();
    await clock.advance(50_000);
    see({ id: "web-0", incarnation: 1, lastHeartbeatAt: clock.now() });
    await clock.advance(30_000);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
  });

  it("that it beats in the future counts as of when that was first said", async () => {
    const { reconciler, clock, see } = await setUpSeen();
    see({ id: "web-0", incarnation: 1, lastHeartbeatAt: clock.now() + 86_400_000 });
    await reconciler.reconcile();
    await clock.advance(30_000);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
  });

  it("that it is ill replaces it", async () => {
    const { reconciler, ledger, see } = await setUpSeen();
    see({ id: "web-0", incarnation: 1, healthy: true });
    expect((await reconciler.reconcile()).actions).toEqual([]);
    see({ id: "web-0", incarnation: 1, healthy: false });
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
    expect(await ledger.get("web-0")).toMatchObject({ reason: "Unhealthy" });
  });

  it("counts for confirmations as beats of the ledger do", async () => {
    const staleness = fixedThreshold({ staleAfterMs: 10_000, confirmations: 3 });
    const { reconciler, clock, see } = await setUpSeen({ staleness });
    see({ id: "web-0", incarnation: 1, lastHeartbeatAt: clock.now() });
    await clock.advance(10_001);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1_000);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1_000);
    expect(actionsOf(await reconciler.reconcile())).toContain("fail web-0/1");
  });

  it("that a terminated one is back ends it again, once per grace period", async () => {
    const { reconciler, clock, fleet, see } = await setUpSeen();
    see({ id: "web-0", incarnation: 1, healthy: false });
    await reconciler.reconcile();
    see({ id: "web-0", incarnation: 2 }, { id: "web-0", incarnation: 1 });
    await reconciler.reconcile();
    await clock.advance(31_000);
    see({ id: "web-0", incarnation: 2, lastHeartbeatAt: clock.now() });
    await reconciler.reconcile();
    expect(await reconciler.status()).toMatchObject({ observed: { TERMINATED: 1 } });
    fleet.calls.length = 0;
    see({ id: "web-0", incarnation: 2, lastHeartbeatAt: clock.now() }, { id: "web-0", incarnation: 1 });
    const report = await reconciler.reconcile();
    expect(report.actions).toMatchObject([{ type: "terminate", incarnation: 1, reason: "Zombie" }]);
    await reconciler.reconcile();
    expect(fleet.calls).toEqual(["terminate web-0/1"]);
  });

  it("that there is a stranger ends it", async () => {
    const { reconciler, fleet, see } = await setUpSeen();
    see({ id: "web-0", incarnation: 1 }, { id: "stranger", externalId: "x9" });
    expect((await reconciler.reconcile()).actions).toMatchObject([{ type: "terminate", id: "stranger" }]);
    expect(fleet.calls).toContain("terminate stranger/0");
  });

  it("that a desired one is there already takes it into the ledger, and makes no second one", async () => {
    const { reconciler, fleet, see, ledger } = await setUpSeen();
    await reconciler.setDesired(2);
    see({ id: "web-0", incarnation: 1 }, { id: "web-1", externalId: "i-7" });
    expect(actionsOf(await reconciler.reconcile())).toEqual(["adopt web-1/1"]);
    expect(await ledger.get("web-1")).toMatchObject({ state: "PROVISIONED", externalId: "i-7" });
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.calls).toEqual(["create web-0/1"]);
  });
});

describe("other policies than the default", () => {
  it("missedBeats: three of 5 s", async () => {
    const { reconciler, clock, ledger } = await setUpOne({ staleness: missedBeats({ intervalMs: 5_000, missed: 3 }) });
    await ledger.heartbeat("web-0");
    await clock.advance(15_000);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
  });

  it("phiAccrual: learns the interval, and finds the silence in time under a loop", async () => {
    const { reconciler, clock, ledger } = await setUpOne({
      staleness: phiAccrual({ minSamples: 5 }),
      resyncIntervalMs: 1_000,
    });
    reconciler.start();
    for (let beat = 0; beat < 60; beat += 1) {
      await ledger.heartbeat("web-0");
      await clock.advance(2_000);
    }
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(60_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(2);
    await reconciler.stop();
  });

  const after10s: StalenessPolicy = {
    assess({ lastHeartbeatAt, provisionedAt = 0 }, nowMs) {
      const since = lastHeartbeatAt ?? provisionedAt;
      return nowMs - since > 10_000 ? { verdict: "stale" } : { verdict: "fresh", nextCheckAt: since + 10_001 };
    },
  };

  it("one of the user's own, without a promise: at its deadline, with no resync", async () => {
    const { reconciler, clock, ledger } = await setUpOne({ staleness: after10s, resyncIntervalMs: 3_600_000 });
    reconciler.start();
    await clock.advance(31_000);
    await settle(clock);
    const incarnation = (await ledger.get("web-0"))?.incarnation ?? 0;
    await clock.advance(5_000);
    await ledger.heartbeat("web-0");
    await clock.advance(10_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(incarnation);
    await clock.advance(2);
    await settle(clock);
    expect(
      (
        await ledger
          .list({ states: ["FAILED"] })
          [Symbol.asyncIterator]()
          .next()
      ).done,
    ).toBe(false);
    await reconciler.stop();
  });

  it("one of the user's own that holds a stale row in a grace period makes no busy loop", async () => {
    const { reconciler, clock, events } = await setUpOne({ staleness: after10s });
    await clock.advance(20_000);
    events.length = 0;
    reconciler.start();
    await clock.advance(20_000);
    expect(eventsOf(events, "pass_finished").length).toBeLessThan(10);
    await reconciler.stop();
  });

  it("one that wants to be asked again at once makes no busy loop", async () => {
    const staleness: StalenessPolicy = { assess: (_, nowMs) => ({ verdict: "fresh", nextCheckAt: nowMs }) };
    const { reconciler, clock, events } = await setUpOne({ staleness });
    reconciler.start();
    await clock.advance(60_000);
    expect(eventsOf(events, "pass_finished").length).toBeLessThan(200);
    await reconciler.stop();
  });

  it.each([
    [
      "throws",
      () => {
        throw new RangeError("secret");
      },
      "RangeError",
    ],
    ["answers nothing", () => undefined as never, "staleness.assess"],
    ["answers another word", () => ({ verdict: "dead" }) as never, "staleness.assess"],
    ["answers a promise", () => Promise.resolve({ verdict: "stale" }) as never, "staleness.assess"],
  ] as const)("one that %s declares nobody dead, is named, and is asked again", async (_, broken, named) => {
    let assess: StalenessPolicy["assess"] = after10s.assess;
    const { reconciler, clock, fleet } = await setUpOne({ staleness: { assess: (...args) => assess(...args) } });
    assess = broken;
    await clock.advance(20_000);
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(report.converged).toBe(false);
    expect(conditionsOf(report).StalenessFailed).toContain(named);
    // What has nothing to do with it is done all the same.
    await reconciler.setDesired(2);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["create web-1/1"]);
    assess = after10s.assess;
    await clock.advance(5_000);
    const next = await reconciler.reconcile();
    expect(actionsOf(next)).toContain("fail web-0/1");
    expect(conditionsOf(next).StalenessFailed).toBeUndefined();
    expect(fleet.created.length).toBeGreaterThanOrEqual(3);
  });
});
