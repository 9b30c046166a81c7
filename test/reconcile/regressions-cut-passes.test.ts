import { fixedThreshold } from "evenkeel";
import { describe, expect, it } from "vitest";
import { deferred, settle } from "./reconciler-kit.ts";
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
    let hanging = deferred();
    let calls = 0;
    const { reconciler, clock } = setUpReconciler({
      staleness: NEVER_SILENT,
      actionTimeoutMs: 3_600_000,
      concurrency: 1,
      create: async () => {
        calls += 1;
        await hanging.promise;
      },
    });
    reconciler.start();
    for (let count = 1; count <= 12; count += 1) {
      await reconciler.setDesired([{ id: "a" }, { id: `b-${count}` }]);
      await settle(clock);
      // The pass that began it is cut by this one, and it fails afterwards.
      const before = hanging;
      hanging = deferred();
      await reconciler.setDesired([{ id: "a" }, { id: `c-${count}` }]);
      await settle(clock);
      before.reject(new Error("late"));
      await settle(clock);
    }
    // Each new generation begins anew; what came late in the last one still holds its creations back.
    const begun = calls;
    await settle(clock);
    expect(calls).toBe(begun);
    expect((await reconciler.plan()).held.map(({ heldBy }) => heldBy)).toContain("backoff");
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(10_000);
    await stopped;
  });
});
