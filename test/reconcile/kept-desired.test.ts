import { describe, expect, it } from "vitest";
import { settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

describe("what a callback says is desired", () => {
  it("is not brought back by a copy of its request that arrives after something else was said", async () => {
    let wanted = 5;
    let isFirst = true;
    const { reconciler, ledger, clock } = setUpReconciler(
      { desired: () => wanted },
      {
        decide: ({ operation }) => {
          if (operation !== "resources.setDesired" || !isFirst) return undefined;
          isFirst = false;
          return { duplicateAfterMs: 3_000 };
        },
      },
    );
    await reconciler.reconcile();
    wanted = 2;
    await reconciler.reconcile();
    await clock.advance(10_000);
    expect(await ledger.desired()).toMatchObject({ generation: 2, resources: [{ id: "web-0" }, { id: "web-1" }] });
  });

  it("goes over what somebody else has said while it was asked", async () => {
    const { reconciler, ledger, fleet } = setUpReconciler({
      desired: async () => {
        await ledger.setDesired(7);
        return 2;
      },
    });
    await ledger.setDesired(1);
    const { generation } = await reconciler.reconcile();
    expect(await ledger.desired()).toMatchObject({ generation, resources: [{ id: "web-0" }, { id: "web-1" }] });
    expect(fleet.ids()).toEqual(["web-0", "web-1"]);
  });

  it("goes over what somebody else says between the look and its request", async () => {
    let isFirst = true;
    const { reconciler, ledger, clock } = setUpReconciler(
      { desired: () => 2 },
      {
        decide: ({ operation }) => {
          if (operation !== "resources.setDesired" || !isFirst) return undefined;
          isFirst = false;
          return { delayMs: 1_000 };
        },
      },
    );
    const passed = reconciler.reconcile();
    await settle(clock);
    await ledger.setDesired(7);
    await clock.advance(1_000);
    expect((await passed).generation).toBe(2);
    expect(await ledger.desired()).toMatchObject({ generation: 2, resources: [{ id: "web-0" }, { id: "web-1" }] });
  });
});
