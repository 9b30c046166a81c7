import { TerminalError } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, heldOf } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

/** An API that does each key once, and answers its repetitions as it answered the first. */
function keyedApi() {
  const actual = new Map<string, unknown>();
  const done = new Set<string>();
  let losesAnswers = false;
  return {
    actual,
    loseAnswers: (loses: boolean) => {
      losesAnswers = loses;
    },
    create: async ({ id, spec }: { readonly id: string; readonly spec?: unknown }) => void actual.set(id, spec),
    update: async (
      { id, spec }: { readonly id: string; readonly spec?: unknown },
      { idempotencyKey }: { readonly idempotencyKey: string },
    ) => {
      if (!done.has(idempotencyKey)) actual.set(id, spec);
      done.add(idempotencyKey);
      if (losesAnswers) throw new Error("the answer was lost");
    },
  };
}

describe("updates to specs that were wanted before", () => {
  it("are carried out where `desired` knows only a part, and its generation stays", async () => {
    const { actual, create, update } = keyedApi();
    let spec = "A";
    const { reconciler, ledger, clock } = setUpReconciler({
      desired: () => ({ complete: false, resources: [{ id: "a", spec }] }),
      create,
      update,
    });
    for (spec of ["A", "B", "A", "B", "A"]) {
      await reconciler.reconcile();
      expect(actual.get("a")).toBe(spec);
      expect((await ledger.get("a"))?.spec).toBe(spec);
      expect((await reconciler.reconcile()).actions).toEqual([]);
      await clock.advance(1_000);
    }
  });

  it("are carried out where the answers to those in between were lost", async () => {
    const { actual, loseAnswers, create, update } = keyedApi();
    const { reconciler, ledger, clock } = setUpReconciler({ create, update });
    const desire = async (spec: string) => {
      await reconciler.setDesired([{ id: "a", spec }]);
      await clock.advance(600_000);
      await ledger.heartbeat("a");
      await reconciler.reconcile();
    };
    await desire("A");
    await ledger.heartbeat("a");
    loseAnswers(true);
    await desire("B");
    await desire("C");
    loseAnswers(false);
    await desire("B");
    expect(actual.get("a")).toBe("B");
    expect(await ledger.get("a")).toMatchObject({ incarnation: 1, spec: "B" });
    expect((await reconciler.reconcile()).converged).toBe(true);
  });

  it("that said that nothing was done are not undone", async () => {
    const updated: unknown[] = [];
    const { reconciler } = setUpReconciler({
      update: async ({ spec }) => {
        updated.push(spec);
        throw new TerminalError("never");
      },
    });
    for (const spec of ["A", "B", "A"]) {
      await reconciler.setDesired([{ id: "a", spec }]);
      await reconciler.reconcile();
    }
    expect(updated).toEqual(["B"]);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });
});

describe("a TerminalError where `desired` knows only a part", () => {
  it("does not keep another spec from being tried", async () => {
    let spec = "bad";
    const { reconciler, clock } = setUpReconciler({
      desired: () => ({ complete: false, resources: [{ id: "a", spec }] }),
      create: async (resource) => {
        if (resource.spec === "bad") throw new TerminalError("never");
      },
      update: async (resource) => {
        if (resource.spec === "worse") throw new TerminalError("never");
      },
    });
    await reconciler.reconcile();
    expect(heldOf(await reconciler.reconcile())).toEqual(["create a: backoff"]);
    spec = "good";
    // After a failed batch, all creations wait for a moment.
    await clock.advance(1_000);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["create a/2"]);
    spec = "worse";
    await reconciler.reconcile();
    expect(heldOf(await reconciler.reconcile())).toEqual(["update a: backoff"]);
    spec = "better";
    expect(actionsOf(await reconciler.reconcile())).toEqual(["update a/2"]);
  });
});
