import { afterEach, beforeEach, expect, it } from "vitest";
import {
  fixedThreshold,
  Reconciler,
  type ReconcilerOptions,
  ResourceLedger,
  withIdempotency,
} from "../../src/index.ts";
import type { ConformanceSubject } from "../../src/testing/index.ts";
import { until } from "../support/until.ts";
import { fakeFleet } from "./set-up.ts";

const CALL = { timeoutMs: 5_000 };
const SHORT_MS = 300;

/**
 * What a ledger and its reconciler are there for, by the clock of the engine.
 *
 * @param newSubject - an empty ledger whose time the test moves.
 * @param newLedgers - two stores on one empty ledger, as two processes have them, whose time is the engine's own.
 */
export function describeChallenges(
  newSubject: () => Promise<Pick<ConformanceSubject, "store" | "advance" | "dispose">>,
  newLedgers: () => Promise<readonly [first: Stores, second: Stores]>,
): void {
  const closing: (() => Promise<void>)[] = [];
  let fleet = fakeFleet();

  beforeEach(() => {
    fleet = fakeFleet();
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  const subject = async () => {
    const made = await newSubject();
    closing.push(() => made.dispose());
    return made;
  };
  const ledgers = async () => {
    const [first, second] = await newLedgers();
    closing.push(
      () => first.close(),
      () => second.close(),
    );
    return { first: first.store, second: second.store };
  };
  const reconcilerOf = (store: Stores["store"], options: Partial<ReconcilerOptions> = {}) =>
    new Reconciler({ name: "web", store, ...fleet.callbacks, ...options });

  it("(a) two requests with one key run once, wherever they come in", async () => {
    const { first, second } = await ledgers();
    let runs = 0;
    const pays = [first, second].map((store) =>
      withIdempotency(
        async () => {
          runs += 1;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return { run: runs };
        },
        { store, operation: "pay", inFlight: "wait" },
      ),
    );
    expect(await Promise.all(pays.map((pay) => pay({}, { key: "order-1" })))).toEqual([{ run: 1 }, { run: 1 }]);
    expect(runs).toBe(1);
  });

  it("(a) a resource that two provision at once is created once", async () => {
    const { first, second } = await ledgers();
    const create = (resource: never, ctx: never) => fleet.callbacks.create(resource, ctx);
    const provisions = [first, second].map((store) =>
      new ResourceLedger({ store, group: "web" }).provision("web-0", { create: create as never }),
    );
    const settled = await Promise.allSettled(provisions);
    const created = settled.filter((each) => each.status === "fulfilled" && each.value.created);
    expect(created).toHaveLength(1);
    for (const each of settled)
      if (each.status === "rejected") expect(each.reason).toMatchObject({ code: "IN_PROGRESS" });
    expect(fleet.calls).toEqual(["create web-0/1"]);
    const again = await new ResourceLedger({ store: second, group: "web" }).provision("web-0", {
      create: create as never,
    });
    expect(again).toMatchObject({ created: false, resource: { state: "PROVISIONED", externalId: "x1" } });
  });

  it("(b) desired 10, then 5: five are terminated, the highest first, whoever looks", async () => {
    const { first, second } = await ledgers();
    const [one, other] = [reconcilerOf(first, { concurrency: 1 }), reconcilerOf(second, { concurrency: 1 })];
    await one.setDesired(10);
    expect((await one.reconcile()).converged).toBe(true);
    await other.setDesired(5);
    const terminations = [9, 8, 7, 6, 5].map((n) => `terminate web-${n}/1`);
    const shown = (await other.plan()).actions.map(({ type, id, incarnation }) => `${type} ${id}/${incarnation}`);
    expect(shown).toEqual(terminations);
    expect((await one.plan()).actions.map(({ type, id, incarnation }) => `${type} ${id}/${incarnation}`)).toEqual(
      shown,
    );
    expect((await one.reconcile()).converged).toBe(true);
    expect(fleet.calls.slice(10)).toEqual(terminations);
    expect(fleet.ids()).toEqual([0, 1, 2, 3, 4].map((n) => `web-${n}`));
    expect((await other.reconcile()).actions).toEqual([]);
  });

  it("(b) at rest, no row is read again to find out what changed", async () => {
    const { first, second } = await ledgers();
    const read: { readonly cursor: string | undefined; readonly rows: number }[] = [];
    const changedSince: typeof first.resources.changedSince = async (request, call) => {
      const changed = await first.resources.changedSince(request, call);
      read.push({ cursor: request.cursor, rows: changed.rows.length });
      return changed;
    };
    const resources: typeof first.resources = Object.assign(Object.create(first.resources), { changedSince });
    const reconciler = reconcilerOf({ ...first, resources });
    await reconciler.setDesired(3);
    await reconciler.reconcile();
    await new ResourceLedger({ store: second, group: "web" }).heartbeat("web-2");
    await reconciler.reconcile();
    for (let pass = 0; pass < 3; pass += 1) {
      read.length = 0;
      await reconciler.reconcile();
      expect(read).toEqual([{ cursor: expect.any(String), rows: 0 }]);
    }
  });

  it("(c) a heartbeat of 30,000 ms ago is fresh, one of 30,001 is stale: FAILED, and replaced once", async () => {
    const { store, advance } = await subject();
    const reconciler = reconcilerOf(store);
    const ledger = new ResourceLedger({ store, group: "web" });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await advance(7_000);
    expect(await ledger.heartbeat("web-0")).toEqual({ accepted: true, superseded: false });
    await advance(30_000);
    expect((await reconciler.plan()).actions).toEqual([]);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    await advance(1);
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ type, incarnation, result }) => `${type} ${incarnation} ${result}`)).toEqual([
      "fail 1 done",
      "replace 2 done",
    ]);
    const [failed] = await store.resources.list({ group: "web", limit: 10 }, CALL);
    expect(failed).toMatchObject({ state: "FAILED", incarnation: 1, reason: "HeartbeatStale" });
    expect(await ledger.heartbeat("web-0", { incarnation: 1 })).toEqual({ accepted: false, superseded: true });
    expect((await reconciler.reconcile()).actions).toMatchObject([{ type: "terminate", incarnation: 1 }]);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(fleet.calls).toEqual(["create web-0/1", "create web-0/2", "terminate web-0/1"]);
  });

  it("(c) one that another reconciler has replaced is not replaced again", async () => {
    const { store, advance } = await subject();
    const [one, other] = [reconcilerOf(store), reconcilerOf(store)];
    await one.setDesired(1);
    await one.reconcile();
    // Never having beaten, it has a minute.
    await advance(60_000);
    expect((await other.plan()).actions).toEqual([]);
    await advance(1);
    const reports = await Promise.all([one.reconcile(), other.reconcile()]);
    const done = reports.flatMap(({ actions }) => actions).filter(({ result }) => result === "done");
    expect(done.map(({ type }) => type).filter((type) => type === "fail")).toHaveLength(1);
    expect(fleet.created).toHaveLength(2);
  });

  it("(c) by the engine's own time nobody is stale up to the threshold, and soon after it", async () => {
    const { first } = await ledgers();
    const staleness = fixedThreshold({ staleAfterMs: SHORT_MS, startupGraceMs: 60_000 });
    const reconciler = reconcilerOf(first, { staleness });
    const ledger = new ResourceLedger({ store: first, group: "web" });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    const age = async (): Promise<number> => {
      const row = await first.resources.get("web", "web-0", CALL);
      return (row?.readAt ?? 0) - (row?.lastHeartbeatAt ?? Number.NaN);
    };
    const freshAt: number[] = [];
    let staleAt = 0;
    const isStale = async (): Promise<boolean> => {
      const [before, { actions }, after] = [await age(), await reconciler.plan(), await age()];
      // What the plan went by lies between the two.
      if (actions.length === 0) freshAt.push(before);
      else staleAt = after;
      return actions.length > 0;
    };
    // A busy machine may take longer to look than it is fresh.
    await until("it was seen while it was fresh", async () => {
      await ledger.heartbeat("web-0");
      return !(await isStale());
    });
    await until("it is stale", isStale);
    expect(Math.max(...freshAt)).toBeLessThanOrEqual(SHORT_MS);
    expect(staleAt).toBeGreaterThan(SHORT_MS);
    expect((await reconciler.reconcile()).actions.map(({ type }) => type)).toEqual(["fail", "replace"]);
  });
}

/** A store, and what ends it. */
export interface Stores {
  readonly store: ConformanceSubject["store"];
  close(): Promise<void>;
}
