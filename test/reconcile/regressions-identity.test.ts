import { fixedThreshold, type ObservedResource, Reconciler, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { LedgerView } from "../../src/reconcile/ledger-view.ts";
import { Retries } from "../../src/reconcile/retries.ts";
import { matchItems } from "../../src/reconcile/slot.ts";
import type { ResourceRow } from "../../src/store.ts";
import { actionsOf, fakeLeader } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const NEVER = fixedThreshold({ staleAfterMs: 1e9, startupGraceMs: 1e9 });

function row(incarnation: number, given: Partial<ResourceRow> = {}): ResourceRow {
  return {
    group: "web",
    id: "a",
    incarnation,
    state: "PROVISIONED",
    generation: 1,
    attempt: 0,
    fencingToken: 1,
    createdAt: 0,
    stateChangedAt: 0,
    version: 1,
    readAt: 0,
    ...given,
  };
}

/** Whose items are, by incarnation, and which are nobody's. */
function matched(rows: ResourceRow[], items: Omit<ObservedResource, "id">[]) {
  const { byIncarnation, strays } = matchItems({ rows, items: items.map((item) => ({ id: "a", ...item })) });
  return {
    rows: Object.fromEntries([...byIncarnation].map(([incarnation, { externalId }]) => [incarnation, externalId])),
    strays: strays.map(({ externalId }) => externalId),
  };
}

describe("two observed resources of one incarnation", () => {
  const both = [
    { incarnation: 1, externalId: "x" },
    { incarnation: 1, externalId: "y" },
  ];

  it("are two: the one that the row does not know is a stray", () => {
    expect(matched([row(1, { externalId: "y" })], both)).toEqual({ rows: { 1: "y" }, strays: ["x"] });
    expect(matched([row(1, { externalId: "x" })], both)).toEqual({ rows: { 1: "x" }, strays: ["y"] });
    expect(matched([], both)).toEqual({ rows: {}, strays: ["x", "y"] });
  });

  it("are one where only one of them says what it is called", () => {
    expect(matched([row(1, { externalId: "x" })], [{ incarnation: 1 }, { incarnation: 1, externalId: "x" }])).toEqual({
      rows: { 1: "x" },
      strays: [],
    });
  });

  it("are told by their incarnation where all go by one name", () => {
    const rows = [row(1, { externalId: "a", state: "FAILED" }), row(2, { state: "PENDING" })];
    const items = [
      { incarnation: 1, externalId: "a" },
      { incarnation: 2, externalId: "a" },
    ];
    expect(matched(rows, items.slice(1))).toEqual({ rows: { 2: "a" }, strays: [] });
    expect(matched(rows, items)).toEqual({ rows: { 1: "a", 2: "a" }, strays: [] });
  });

  it("are what the last one is where it goes by another name, and is alone", () => {
    expect(matched([row(1, { externalId: "x" })], [{ incarnation: 1, externalId: "z" }])).toEqual({
      rows: { 1: "z" },
      strays: [],
    });
  });

  it.each([3, 12])("are both taken after a ledger of %i was lost: who lives and beats is kept", async (count) => {
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const world = new Map<string, { id: string; incarnation: number; externalId: string }>();
    const began = (id: string, incarnation: number): string => {
      const externalId = `vm${world.size}`;
      world.set(externalId, { id, incarnation, externalId });
      return externalId;
    };
    for (let index = 0; index < count; index += 1) began(`web-${index}`, 2);
    const made: string[] = [];
    const ended: string[] = [];
    const reconciler = new Reconciler({
      name: "web",
      store,
      clock,
      random: seededRandom(2),
      observe: () => [...world.values()],
      create: async ({ id, incarnation }) => {
        made.push(id);
        return { externalId: began(id, incarnation) };
      },
      terminate: async ({ externalId = "" }) => {
        ended.push(externalId);
        world.delete(externalId);
      },
    });
    const workers = new ResourceLedger({ store, group: "web", clock });
    await reconciler.setDesired(count);
    reconciler.start();
    // A second one of the same incarnation, which nobody asked for.
    world.set("twin", { id: "web-0", incarnation: 2, externalId: "twin" });
    for (let second = 0; second < 300; second += 1) {
      await clock.advance(1_000);
      for (const [externalId, { id, incarnation }] of [...world]) {
        const { superseded } = await workers.heartbeat(id, { incarnation });
        if (superseded) world.delete(externalId);
      }
    }
    expect(made).toEqual([]);
    expect(ended).toHaveLength(1);
    expect([...world.values()].map(({ incarnation }) => incarnation)).toEqual(Array.from({ length: count }, () => 2));
    expect(await reconciler.status()).toMatchObject({ converged: true });
    await reconciler.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("a zombie", () => {
  it("that comes back after it was gone is asked to end once more, and not forced at once", async () => {
    let isThere = true;
    const forced: string[] = [];
    const kit = setUpReconciler({
      staleness: NEVER,
      terminate: async ({ id, incarnation }) => {
        kit.fleet.calls.push(`terminate ${id}/${incarnation}`);
      },
      forceTerminate: async ({ id }) => {
        forced.push(id);
      },
      observe: () => [
        ...[...kit.fleet.running].map(([externalId, { id, incarnation }]) => ({ id, incarnation, externalId })),
        ...(isThere ? [{ id: "web-0", externalId: "stranger" }] : []),
      ],
    });
    const { clock, reconciler, fleet } = kit;
    isThere = false;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(60_000);
    isThere = true;
    await reconciler.reconcile();
    expect(fleet.calls.filter((call) => call.startsWith("terminate"))).toHaveLength(1);
    isThere = false;
    await reconciler.reconcile();
    await clock.advance(600_000);
    isThere = true;
    await reconciler.reconcile();
    expect(forced).toEqual([]);
    expect(fleet.calls.filter((call) => call.startsWith("terminate"))).toHaveLength(2);
    await clock.advance(30_000);
    await reconciler.reconcile();
    expect(forced).toEqual(["web-0"]);
  });

  it("leaves nothing in memory once it is gone", async () => {
    const kept: number[] = [];
    const remember = Retries.prototype.accepted;
    let retries: Retries | undefined;
    Retries.prototype.accepted = function (...given) {
      retries = this;
      remember.apply(this, given);
    };
    try {
      let number: number | undefined;
      const kit = setUpReconciler({
        staleness: NEVER,
        terminate: async () => {},
        observe: () => [
          ...[...kit.fleet.running].map(([externalId, { id, incarnation }]) => ({ id, incarnation, externalId })),
          ...(number === undefined ? [] : [{ id: "web-0", externalId: `stray-${number++}` }]),
        ],
      });
      await kit.reconciler.setDesired(1);
      await kit.reconciler.reconcile();
      number = 0;
      for (let pass = 0; pass < 20; pass += 1) {
        await kit.reconciler.reconcile();
        await kit.clock.advance(1_000);
        if (retries !== undefined) kept.push(retries.size);
      }
    } finally {
      Retries.prototype.accepted = remember;
    }
    expect(kept.length).toBeGreaterThan(10);
    expect(Math.max(...kept)).toBeLessThanOrEqual(2);
  });
});

it("a follower that is asked for its status keeps no tombstone for ever, and the ledger's go when it leads", async () => {
  const seen: number[] = [];
  const forget = LedgerView.prototype.forgetTombstonesBefore;
  const leader = fakeLeader(1);
  leader.lose();
  const { clock, reconciler, store, fleet, storeCalls } = setUpReconciler({ staleness: NEVER, leader });
  const other = new Reconciler({ name: "web", store, clock, staleness: NEVER, ...fleet.callbacks });
  LedgerView.prototype.forgetTombstonesBefore = function (moment) {
    forget.call(this, moment);
    seen.push(this.states.TERMINATED);
  };
  try {
    await other.setDesired(5);
    await other.reconcile();
    await other.setDesired(0);
    await other.reconcile();
    expect((await reconciler.status()).observed).toMatchObject({ TERMINATED: 5 });
    await clock.advance(3_600_001);
    expect((await reconciler.status()).observed).toMatchObject({ TERMINATED: 0 });
    expect(seen).toEqual([0]);
    expect(storeCalls).not.toContain("resources.purge");
    leader.lead(1);
    await other.setDesired(5);
    expect(actionsOf(await reconciler.reconcile()).sort()).toEqual([0, 1, 2, 3, 4].map((n) => `create web-${n}/2`));
    expect(storeCalls).toContain("resources.purge");
  } finally {
    LedgerView.prototype.forgetTombstonesBefore = forget;
  }
});
