import { type LedgerStore, Reconciler, type ReconcilerOptions, type ResourceRow } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { eventsOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

/** Runs to the end what waits for the clock. */
async function ran<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  work.then(end, end);
  for (let step = 0; step < 1_000 && !isOver; step += 1) await clock.advance(100);
  return work;
}

describe("answers of the store that are lost", () => {
  it.each(["lostReply", "duplicate", "hangAfter"] as const)(
    "%s on every write there is: nothing is made or ended twice",
    async (fault) => {
      // Each write in its turn: the first run counts them.
      let writes = 0;
      for (let nth = 0; nth <= writes; nth += 1) {
        let seen = 0;
        const fleet = fakeFleet();
        const { reconciler, clock } = setUpReconciler(
          { ...fleet.callbacks, replacement: "fenceFirst" },
          {
            decide: ({ operation }) => {
              if (operation !== "resources.apply" && operation !== "resources.setDesired") return undefined;
              seen += 1;
              return seen === nth ? fault : undefined;
            },
          },
        );
        await ran(clock, reconciler.setDesired([{ id: "a", spec: 1 }, { id: "b" }]));
        await ran(clock, reconciler.reconcile());
        await ran(clock, reconciler.setDesired([{ id: "a", spec: 2 }]));
        for (let pass = 0; pass < 4; pass += 1) await ran(clock, reconciler.reconcile());
        if (nth === 0) writes = seen;
        expect(fleet.calls.sort()).toEqual([
          "create a/1",
          "create a/2",
          "create b/1",
          "terminate a/1",
          "terminate b/1",
        ]);
        expect(await reconciler.status()).toMatchObject({ converged: true });
      }
      expect(writes).toBeGreaterThan(6);
    },
  );
});

describe("a store that fails", () => {
  function setUpFailing(options: Partial<ReconcilerOptions> = {}) {
    let isDown = false;
    const test = setUpReconciler(options, { decide: () => (isDown ? "lostRequest" : undefined) });
    const fail = (down: "down" | "up"): void => {
      isDown = down === "down";
    };
    return { ...test, fail };
  }

  it("makes reconcile(), plan(), status(), explain() and setDesired() reject, and nothing more", async () => {
    const { reconciler, clock, fail, fleet } = setUpFailing();
    await reconciler.setDesired(1);
    fail("down");
    const calls: (() => Promise<unknown>)[] = [
      () => reconciler.reconcile(),
      () => reconciler.plan(),
      () => reconciler.status(),
      () => reconciler.explain("web-0"),
      () => reconciler.setDesired(5),
    ];
    for (const call of calls) await expect(ran(clock, call())).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    fail("up");
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.ids()).toEqual(["web-0"]);
  });

  it("makes the loop back off, and go on when it is back", async () => {
    const { reconciler, clock, fail, fleet, events, ledger } = setUpFailing();
    await ledger.setDesired(2);
    fail("down");
    reconciler.start();
    await clock.advance(600_000);
    const failed = eventsOf(events, "pass_failed");
    expect(failed.length).toBeGreaterThan(3);
    expect(failed.length).toBeLessThan(60);
    expect(failed[0]).toMatchObject({ error: { code: "STORE_UNAVAILABLE" }, reconciler: "web" });
    expect(fleet.calls).toEqual([]);
    fail("up");
    await clock.advance(40_000);
    expect(fleet.ids()).toEqual(["web-0", "web-1"]);
    await reconciler.stop();
  });

  it("between create and its row: the next pass finishes with the same key", async () => {
    const fleet = fakeFleet();
    const { reconciler, clock, fail } = setUpFailing({
      ...fleet.callbacks,
      actionTimeoutMs: 10_000,
      create: async (resource, ctx) => {
        const made = await fleet.callbacks.create(resource, ctx);
        if (fleet.calls.length === 1) fail("down");
        return made;
      },
    });
    await reconciler.setDesired(1);
    await expect(ran(clock, reconciler.reconcile())).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    fail("up");
    await clock.advance(10_000);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.created).toHaveLength(1);
    expect(fleet.running.size).toBe(1);
  });
});

describe("a row that can't be read", () => {
  /** A store that answers one row otherwise than it is. */
  function setUpCorrupt(change: Partial<Record<keyof ResourceRow, unknown>>) {
    const clock = new ManualClock();
    const inner = memoryStore({ clock });
    let isCorrupt = false;
    const spoil = (row: ResourceRow): ResourceRow =>
      isCorrupt && row.id === "web-1" ? ({ ...row, ...change } as ResourceRow) : row;
    const spoilAll = <T extends { rows: ResourceRow[] }>(answer: T): T => ({ ...answer, rows: answer.rows.map(spoil) });
    const { resources } = inner;
    const store: LedgerStore = {
      ...inner,
      executions: inner.executions,
      leases: inner.leases,
      close: () => inner.close(),
      resources: {
        getDesired: (...args) => resources.getDesired(...args),
        setDesired: (...args) => resources.setDesired(...args),
        apply: (...args) => resources.apply(...args),
        heartbeat: (...args) => resources.heartbeat(...args),
        purge: (...args) => resources.purge(...args),
        listGroups: (...args) => resources.listGroups(...args),
        get: async (...args) => {
          const row = await resources.get(...args);
          return row && spoil(row);
        },
        list: async (...args) => (await resources.list(...args)).map(spoil),
        changedSince: async (...args) => spoilAll(await resources.changedSince(...args)),
        staleBefore: async (...args) => spoilAll(await resources.staleBefore(...args)),
      },
    };
    const fleet = fakeFleet();
    const options = { name: "web", store, clock, random: seededRandom(1), ...fleet.callbacks };
    const spoiling = (): void => {
      isCorrupt = true;
    };
    const mending = (): void => {
      isCorrupt = false;
    };
    return { clock, fleet, options, spoiling, mending };
  }

  it.each([
    [{ state: "ZOMBIE" }, "state"],
    [{ state: undefined }, "state"],
    [{ incarnation: 0 }, "incarnation"],
    [{ version: -1 }, "version"],
    [{ createdAt: Number.NaN }, "createdAt"],
    [{ generation: 1.5 }, "generation"],
  ])("%j is RECORD_CORRUPT and named, and nothing is done", async (change, field) => {
    const { fleet, options, spoiling, mending } = setUpCorrupt(change);
    const first = new Reconciler(options);
    await first.setDesired(3);
    await first.reconcile();
    await first.setDesired(1);
    fleet.calls.length = 0;
    spoiling();
    // A new process, which reads all of them.
    const reconciler = new Reconciler(options);
    for (const call of [() => reconciler.reconcile(), () => reconciler.plan(), () => reconciler.status()])
      await expect(call()).rejects.toMatchObject({
        code: "RECORD_CORRUPT",
        message: expect.stringMatching(new RegExp(`"web-1".*${field}`)),
      });
    expect(fleet.calls).toEqual([]);
    mending();
    expect((await reconciler.reconcile()).actions).toHaveLength(2);
  });

  it("keeps the loop from acting, not from going on later", async () => {
    const { clock, fleet, options, spoiling, mending } = setUpCorrupt({ state: "ZOMBIE" });
    const first = new Reconciler(options);
    await first.setDesired(3);
    await first.reconcile();
    await first.setDesired(1);
    spoiling();
    const reconciler = new Reconciler(options);
    reconciler.start();
    await clock.advance(5_000);
    expect(fleet.ids()).toHaveLength(3);
    mending();
    await clock.advance(20_000);
    await settle(clock);
    expect(fleet.ids()).toEqual(["web-0"]);
    await reconciler.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});
