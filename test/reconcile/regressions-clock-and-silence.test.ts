import { type Clock, fixedThreshold, type ObservedResource, type ReconcilerOptions, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, heldOf } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const NEVER = fixedThreshold({ staleAfterMs: 1e9, startupGraceMs: 1e9 });

/** A reconciler whose own clock can be set apart from the store's. */
function setUpApart(options: Partial<ReconcilerOptions>) {
  const clock = new ManualClock();
  const off = { ms: 0 };
  const local: Clock = {
    now: () => clock.now() + off.ms,
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    setTimer: (ms, onDue) => clock.setTimer(ms, onDue),
  };
  const store = memoryStore({ clock });
  return { ...setUpReconciler({ clock: local, store, massGuard: false, ...options }), clock, off };
}

type World = { readonly running: ReadonlyMap<string, { readonly id: string; readonly incarnation: number }> };

/** What the outside world shows of a fleet, each with when it last beat. */
function shown({ running }: World, beatOf: (externalId: string) => number | undefined): ObservedResource[] {
  return [...running].map(([externalId, { id, incarnation }]) => {
    const lastHeartbeatAt = beatOf(externalId);
    return { id, incarnation, externalId, ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt }) };
  });
}

describe("our own clock", () => {
  it("may be set back: who is observed to beat lives", async () => {
    const kit = setUpApart({ observe: () => shown(kit.fleet, () => kit.clock.now()) });
    const { clock, off, reconciler, fleet } = kit;
    await reconciler.setDesired(3);
    await reconciler.reconcile();
    for (let pass = 0; pass < 8; pass += 1) {
      await clock.advance(10_000);
      if (pass === 6) off.ms = -60_000;
      await reconciler.reconcile();
    }
    expect(fleet.created).toHaveLength(3);
    expect(fleet.terminated).toEqual([]);
  });

  it("may be set back: a silence is found no later, whatever the policy", async () => {
    const { clock, off, reconciler, fleet } = setUpApart({
      staleness: {
        assess({ lastHeartbeatAt, provisionedAt = 0 }, nowMs) {
          const at = lastHeartbeatAt ?? provisionedAt;
          return nowMs - at > 30_000 ? { verdict: "stale" } : { verdict: "fresh", nextCheckAt: at + 30_001 };
        },
      },
    });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await reconciler.reconcile();
    off.ms = -3_600_000;
    await clock.advance(30_001);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
    expect(fleet.created).toHaveLength(2);
  });

  it("may be set forward: the backoff of replacements still counts the ended", async () => {
    const kit = setUpApart({
      staleness: NEVER,
      observeGraceMs: 1_000,
      observe: () => shown(kit.fleet, () => undefined),
    });
    const { clock, off, reconciler, fleet } = kit;
    const loseIt = async () => {
      fleet.running.clear();
      await clock.advance(2_000);
      return actionsOf(await reconciler.reconcile());
    };
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(await loseIt()).toEqual(["create web-0/2"]);
    await reconciler.reconcile();
    off.ms = 4_000_000;
    expect(await loseIt()).toEqual(["drop web-0/2"]);
  });
});

describe("beats that come by observing", () => {
  it("are kept of what a partial answer lacks", async () => {
    let isPartial = false;
    const kit = setUpReconciler({
      massGuard: false,
      observe: () => {
        const items = shown(kit.fleet, () => kit.clock.now());
        return isPartial ? { complete: false, items: items.slice(1) } : items;
      },
    });
    const { clock, reconciler, fleet } = kit;
    await reconciler.setDesired(3);
    for (let pass = 0; pass < 8; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(10_000);
    }
    isPartial = true;
    for (let pass = 0; pass < 8; pass += 1) {
      expect(await reconciler.reconcile()).toMatchObject({ actions: [], held: [] });
      await clock.advance(10_000);
    }
    expect(fleet.created).toHaveLength(3);
    // A complete answer in which it has not beaten says that it is silent.
    isPartial = false;
    await reconciler.reconcile();
    expect(fleet.created).toHaveLength(3);
  });

  it("of the future count from when they were first told, also when partial answers come between", async () => {
    let isPartial = false;
    const kit = setUpReconciler({
      observe: () =>
        isPartial ? { complete: false, items: [] } : shown(kit.fleet, () => Date.parse("2199-01-01T00:00:00Z")),
    });
    const { clock, reconciler, fleet } = kit;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    for (let pass = 0; pass < 8; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(10_000);
      isPartial = !isPartial;
    }
    await reconciler.reconcile();
    expect(fleet.created).toHaveLength(2);
  });

  it("are judged as of when they were asked for, however long the answer took", async () => {
    let beatAt: number | undefined;
    const kit = setUpReconciler({
      massGuard: false,
      observe: async () => {
        const items = shown(kit.fleet, () => beatAt ?? kit.clock.now());
        await kit.clock.sleep(15_000);
        return items;
      },
    });
    const { clock, reconciler, fleet } = kit;
    const pass = async () => {
      const report = reconciler.reconcile();
      await clock.advance(15_000);
      return report;
    };
    await reconciler.setDesired(1);
    await pass();
    beatAt = clock.now();
    await clock.advance(30_000);
    // Asked for at 30,000 of silence, which is fresh; the answer comes at 45,000.
    expect(actionsOf(await pass())).toEqual([]);
    expect(actionsOf(await pass())).toEqual(["fail web-0/1", "replace web-0/2"]);
    expect(fleet.created).toHaveLength(2);
  });

  it("are believed of the row's own resource, and not of a zombie", async () => {
    let isThere = false;
    const kit = setUpReconciler({
      staleness: { assess: fixedThreshold({ staleAfterMs: 30_000, startupGraceMs: 30_000 }).assess },
      observe: () => [
        ...shown(kit.fleet, () => undefined),
        ...(isThere ? [{ id: "web-0", incarnation: 1, externalId: "a zombie", lastHeartbeatAt: kit.clock.now() }] : []),
      ],
    });
    const { clock, reconciler, fleet } = kit;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    isThere = true;
    for (let pass = 0; pass < 3; pass += 1) {
      await reconciler.reconcile();
      await clock.advance(10_000);
    }
    await clock.advance(1);
    expect(actionsOf(await reconciler.reconcile())).toContain("replace web-0/2");
    expect(fleet.created).toHaveLength(2);
  });
});

it("where only some are observed to beat, the others are found silent by the index", async () => {
  const kit = setUpReconciler({
    massGuard: false,
    observe: () => shown(kit.fleet, (externalId) => (externalId === "x1" ? undefined : kit.clock.now())),
  });
  const { clock, reconciler, ledger, fleet, storeCalls } = kit;
  await reconciler.setDesired(4);
  await reconciler.reconcile();
  const silent = [...fleet.running.values()].map(({ id }) => id)[0] as string;
  for (let pass = 0; pass < 8; pass += 1) {
    await clock.advance(10_000);
    await ledger.heartbeat(silent, { incarnation: 1 });
    storeCalls.length = 0;
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(storeCalls).not.toContain("resources.get");
    expect(storeCalls).toContain("resources.staleBefore");
  }
  await clock.advance(30_001);
  expect(actionsOf(await reconciler.reconcile())).toEqual([`fail ${silent}/1`, `replace ${silent}/2`]);
});

describe("confirmations", () => {
  it("are not used up by looks that only show", async () => {
    const { clock, reconciler } = setUpReconciler({
      staleness: fixedThreshold({ staleAfterMs: 30_000, startupGraceMs: 30_000, confirmations: 3 }),
    });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(30_001);
    for (let look = 0; look < 5; look += 1) {
      await reconciler.status();
      await reconciler.explain("web-0");
      expect((await reconciler.plan()).actions).toEqual([]);
      await clock.advance(1);
    }
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await clock.advance(1);
    // What a real look would find now: the third confirmation.
    expect(actionsOf(await reconciler.plan())).toEqual(["fail web-0/1", "replace web-0/2"]);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["fail web-0/1", "replace web-0/2"]);
  });
});

describe("what nobody said is wanted", () => {
  it("is not given up when it falls silent", async () => {
    const { clock, store, reconciler } = setUpReconciler();
    const ledger = new ResourceLedger({ store, group: "web", clock });
    await ledger.provision("foo", { create: async () => {} });
    await ledger.heartbeat("foo", { incarnation: 1 });
    await clock.advance(30_001);
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(heldOf(report)).toEqual(["fail foo: unknown"]);
    expect(await ledger.heartbeat("foo", { incarnation: 1 })).toMatchObject({ superseded: false });
  });
});

describe("a complete answer that shows none of many", () => {
  it("is not believed before it comes twice, whatever else it shows", async () => {
    let isForeign = false;
    const kit = setUpReconciler({
      staleness: NEVER,
      observeGraceMs: 1_000,
      observe: () => (isForeign ? [{ id: "foreign", externalId: "f" }] : shown(kit.fleet, () => undefined)),
    });
    const { clock, reconciler, fleet } = kit;
    await reconciler.setDesired(12);
    await reconciler.reconcile();
    await clock.advance(5_000);
    await reconciler.reconcile();
    isForeign = true;
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([]);
    expect(new Set(report.held.map(({ heldBy }) => heldBy))).toEqual(new Set(["unconfirmedEmpty"]));
    expect(conditionsOf(report)).toHaveProperty("UnconfirmedEmpty");
    // Neither is anything ended that may be somebody else's.
    expect(fleet.calls.filter((call) => call.startsWith("terminate"))).toEqual([]);
    expect((await reconciler.reconcile()).actions.length).toBeGreaterThan(0);
  });
});
