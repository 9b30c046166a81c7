import { fixedThreshold } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, deferred, heldOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const NEVER_SILENT = fixedThreshold({ staleAfterMs: 30_000, startupGraceMs: 86_400_000 });

describe("a creation that hangs", () => {
  it("keeps the others waiting until its pass is cut, and not for the time that it may take", async () => {
    const hanging = deferred();
    const calls: string[] = [];
    const { reconciler, clock } = setUpReconciler({
      staleness: NEVER_SILENT,
      actionTimeoutMs: 3_600_000,
      concurrency: 4,
      create: async ({ id }) => {
        calls.push(id);
        if (id === "web-0") await hanging.promise;
      },
    });
    await reconciler.setDesired(8);
    reconciler.start();
    await settle(clock);
    expect(calls).toEqual(["web-0"]);
    // Something else is desired: nobody waits for what has begun, and what has not is looked at anew.
    await reconciler.setDesired(9);
    await clock.advance(1_000);
    expect([...new Set(calls)].sort()).toEqual(Array.from({ length: 9 }, (_, index) => `web-${index}`));
    expect(calls).toHaveLength(9);
    hanging.resolve();
    await clock.advance(1_000);
    expect((await reconciler.status()).converged).toBe(true);
    await reconciler.stop();
  });

  it("and fails late has the others wait, as one that fails in time does", async () => {
    const hanging = deferred();
    let isOurs = false;
    const { reconciler, clock } = setUpReconciler({
      staleness: NEVER_SILENT,
      actionTimeoutMs: 3_600_000,
      shards: { owns: (id) => id === "a" || isOurs, epochOf: () => 1 },
      create: () => hanging.promise,
    });
    await reconciler.setDesired([{ id: "a" }, { id: "b" }]);
    reconciler.start();
    await settle(clock);
    // Another generation: nobody waits for the creation.
    await reconciler.setDesired([{ id: "a", deletionCost: 1 }, { id: "b" }]);
    await settle(clock);
    hanging.reject(new Error("late"));
    await settle(clock);
    isOurs = true;
    const plan = await reconciler.plan();
    expect(actionsOf(plan)).toEqual([]);
    expect(heldOf(plan)).toEqual(["create a: backoff", "create b: backoff"]);
    await reconciler.stop();
  });
});
