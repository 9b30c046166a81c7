import { describe, expect, it } from "vitest";
import type { Step } from "../../src/reconcile/step.ts";
import { CALL, GROUP, setUp } from "./executor-set-up.ts";
import { actionsOf, conditionsOf } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

function adoptStep(incarnation: number, after = 0): Step {
  const found = { id: "a", incarnation, reason: "Observed", externalId: "vm-a" };
  return { type: "adopt", ...found, after, spec: "1", generation: 3 };
}

describe("a ledger that was lost while labelled workers ran", () => {
  it.each([3, 12])("takes each of %i under its own number, and their beats with it", async (count) => {
    const items = Array.from({ length: count }, (_, index) => ({
      id: `web-${index}`,
      incarnation: 2,
      externalId: `vm-${index}`,
    }));
    const { reconciler, ledger, clock, fleet } = setUpReconciler({ observe: () => items });
    await reconciler.setDesired(count);
    const first = await reconciler.reconcile();
    expect(actionsOf(first).sort()).toEqual(items.map(({ id }) => `adopt ${id}/2`).sort());
    reconciler.start();
    for (let second = 0; second < 200; second += 1) {
      await clock.advance(1_000);
      const answers = await Promise.all(items.map(({ id }) => ledger.heartbeat(id, { incarnation: 2 })));
      expect(answers.every(({ superseded }) => !superseded)).toBe(true);
    }
    expect(fleet.calls).toEqual([]);
    expect(await ledger.get("web-0")).toMatchObject({ incarnation: 2, state: "PROVISIONED", externalId: "vm-0" });
    const status = await reconciler.status();
    expect(status.converged).toBe(true);
    expect(conditionsOf(status).MassStaleness).toBeUndefined();
    await reconciler.stop();
  });

  it("takes one whose number is far away as the next", async () => {
    const items = [
      { id: "a", incarnation: 102, externalId: "vm" },
      { id: "b", incarnation: 101, externalId: "vm-b" },
    ];
    const { reconciler } = setUpReconciler({ observe: () => items });
    await reconciler.setDesired([{ id: "a" }, { id: "b" }]);
    expect(actionsOf(await reconciler.reconcile()).sort()).toEqual(["adopt a/1", "adopt b/101"]);
    expect((await reconciler.reconcile()).actions).toEqual([]);
  });

  it("goes on with one that it has only counted up for", async () => {
    const items = [{ id: "a", incarnation: 4, externalId: "vm" }];
    const { reconciler, store, fleet } = setUpReconciler({ observe: () => items });
    const lost = { kind: "create", id: "a", state: "TERMINATED", generation: 0, reason: "Lost", attempt: 0 } as const;
    const writes = [0, 1].map((after) => ({ ...lost, after, nonce: `n${after}` }));
    await store.resources?.apply({ group: "web", epoch: 0, writes }, CALL);
    await reconciler.setDesired([{ id: "a" }]);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["adopt a/4"]);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.calls).toEqual([]);
  });
});

describe("adopting a numbered resource", () => {
  it("makes tombstones of the numbers before, in two store calls however many they are", async () => {
    const { process, rows, calls } = setUp();
    const { run, log } = process();
    expect(await run(adoptStep(3))).toMatchObject([{ result: "done", row: { incarnation: 3, state: "PROVISIONED" } }]);
    expect(log.total).toBe(2);
    expect(await rows()).toMatchObject([
      { incarnation: 1, state: "TERMINATED", reason: "Lost" },
      { incarnation: 2, state: "TERMINATED", reason: "Lost" },
      { incarnation: 3, state: "PROVISIONED", externalId: "vm-a", spec: "1", generation: 3, attempt: 0 },
    ]);
    expect(calls).toEqual([]);
  });

  it("takes the next number where the ledger was further than that already", async () => {
    const { process, ledger, clock, seed, row } = setUp();
    for (const id of ["b", "b", "b", "b", "b"]) await seed("TERMINATED", {}, id);
    await clock.advance(10);
    await ledger.resources.purge({ group: GROUP, ageMs: 1, limit: 100 }, CALL);
    const { run } = process();
    expect(await run(adoptStep(3))).toMatchObject([{ result: "done", row: { incarnation: 7, state: "PROVISIONED" } }]);
    expect(await row("a", 6)).toMatchObject({ state: "TERMINATED", reason: "Lost" });
  });

  it("is lost where another writer was first", async () => {
    const { process, seed, rows } = setUp();
    await seed("PROVISIONED");
    const { run } = process();
    expect(await run(adoptStep(3))).toMatchObject([{ result: "lost", row: { incarnation: 1, state: "PROVISIONED" } }]);
    expect(await rows()).toHaveLength(1);
  });
});
