import { fixedThreshold } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, conditionsOf, eventsOf, fakeLeader, heldOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

const staleness = fixedThreshold({ staleAfterMs: 1e9, startupGraceMs: 1e9 });

describe("a surplus order that fails", () => {
  it.each([
    [
      "throws",
      () => {
        throw new TypeError("no");
      },
    ],
    ["answers NaN", () => Number.NaN],
    ["answers nothing", (() => {}) as never],
  ])("and %s holds the terminations that it should have ranked, and nothing else", async (_, broken) => {
    let isBroken = true;
    const { reconciler, events } = setUpReconciler({ staleness, surplus: () => (isBroken ? broken() : 0) });
    const resources = (...ids: string[]) => ids.map((id) => ({ id }));
    await reconciler.setDesired(resources("a", "b", "c"));
    await reconciler.reconcile();
    await reconciler.setDesired(resources("c", "d"));
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["create d/1"]);
    expect(heldOf(report)).toEqual(["terminate a: unknown", "terminate b: unknown"]);
    expect(conditionsOf(report)).toHaveProperty("SurplusFailed");
    expect(conditionsOf(report)).not.toHaveProperty("Converged");
    expect(eventsOf(events, "answer_unknown")).toMatchObject([{ of: "surplus" }]);
    expect(await reconciler.status()).toMatchObject({ converged: false, drift: { surplus: 2 } });
    isBroken = false;
    const mended = await reconciler.reconcile();
    expect(actionsOf(mended).sort()).toEqual(["terminate a/1", "terminate b/1"]);
    expect(conditionsOf(mended)).toEqual({ Converged: "AsDesired" });
  });
});

describe("a gate that fails", () => {
  it("owns nothing", async () => {
    const { reconciler } = setUpReconciler({
      shards: {
        owns: () => {
          throw new Error("no");
        },
        epochOf: () => 1,
      },
    });
    await reconciler.setDesired(1);
    expect(heldOf(await reconciler.reconcile())).toEqual(["create web-0: notOwner"]);
  });

  it("does not lead", async () => {
    const leader = {
      isLeader: () => {
        throw new Error("no");
      },
      epoch: 1,
      signal: new AbortController().signal,
    };
    const { reconciler, clock, fleet, events } = setUpReconciler({ leader });
    await reconciler.setDesired(1);
    const report = await reconciler.reconcile();
    expect(heldOf(report)).toEqual(["create web-0: notLeader"]);
    expect(conditionsOf(report).NotLeader).toBe("NotLeader");
    expect((await reconciler.status()).leader).toBe(false);
    reconciler.start();
    await settle(clock);
    await reconciler.stop();
    expect(fleet.calls).toEqual([]);
    expect(eventsOf(events, "pass_failed")).toEqual([]);
  });

  it("does not lead by a promise", async () => {
    const leader = { ...fakeLeader(1), isLeader: () => Promise.resolve(false) as never };
    const { reconciler } = setUpReconciler({ leader });
    await reconciler.setDesired(1);
    expect(heldOf(await reconciler.reconcile())).toEqual(["create web-0: notLeader"]);
  });
});
