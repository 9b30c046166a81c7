import { describe, expect, it } from "vitest";
import { setUpReconciler } from "./set-up.ts";

describe("an update that nobody knows the end of", () => {
  it("is undone where the spec that it had before is wanted again", async () => {
    let running = 1;
    let isLost = true;
    const { reconciler, clock, fleet } = setUpReconciler({
      update: async ({ spec }) => {
        running = spec as number;
        if (isLost) throw new Error("It was done, and the answer was lost.");
      },
    });
    const desire = (spec: number) => reconciler.setDesired([{ id: "web-0", spec }]);
    await desire(1);
    await reconciler.reconcile();
    await desire(2);
    expect((await reconciler.reconcile()).actions).toMatchObject([{ type: "update", result: "failed" }]);
    await desire(1);
    isLost = false;
    await clock.advance(1_000);
    await reconciler.reconcile();
    expect(running).toBe(1);
    expect((await reconciler.reconcile()).actions).toEqual([]);
    expect(fleet.created).toHaveLength(1);
  });
});
