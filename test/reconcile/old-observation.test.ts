import { describe, expect, it } from "vitest";
import { setUpReconciler } from "./set-up.ts";

describe("an observation that is old when its pass comes to the ledger", () => {
  it("doesn't show what was made since, which is not missing for that", async () => {
    const seen = [{ id: "web-0", incarnation: 1, externalId: "x1" }];
    let hangs = false;
    const { reconciler, clock, fleet, ledger } = setUpReconciler(
      {
        observe: () => (fleet.running.size > 0 && !hangs ? seen : []),
        observeGraceMs: 1_000,
        staleness: { assess: () => ({ verdict: "fresh" }) },
      },
      { decide: ({ operation }) => (hangs && operation === "resources.getDesired" ? { delayMs: 4_000 } : undefined) },
    );
    await reconciler.setDesired(1);
    // It asks, sees nothing, and stands still before the ledger.
    hangs = true;
    const slow = reconciler.reconcile();
    await clock.advance(0);
    hangs = false;
    await ledger.provision("web-0", {
      create: (resource, ctx) => fleet.callbacks.create(resource as never, ctx) as never,
    });
    await clock.advance(4_000);
    expect((await slow).actions).toEqual([]);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(fleet.calls).toEqual(["create web-0/1"]);
  });
});
