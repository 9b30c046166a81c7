import { createContext, runInContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { conditionsOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

/** A promise of another realm, which `instanceof Promise` does not know. */
const foreign: (reason: string) => PromiseLike<unknown> = runInContext(
  "(reason) => Promise.reject(new Error(reason))",
  createContext({}),
);

/** What a query builder is: it does something, and may fail, as soon as it is waited for. */
const lazy = (reason: string): PromiseLike<never> => {
  const promise = Promise.reject(new Error(reason));
  return { then: (...handlers) => promise.then(...handlers) };
};

describe("a rejection that nobody waits for ends no process", () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => {
    unhandled.push(reason);
  };
  const known = process.listeners("unhandledRejection");
  beforeEach(() => {
    process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", note);
  });
  afterEach(async () => {
    // They are told of after all that is ready has run.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", note);
    for (const listener of known) process.on("unhandledRejection", listener);
    expect(unhandled.splice(0)).toEqual([]);
  });

  it.each([
    ["another realm's promise", foreign],
    ["a thenable", lazy],
    ["a promise", (reason: string) => Promise.reject(new Error(reason))],
  ])("%s of onEvent", async (_, reject) => {
    const { reconciler } = setUpReconciler({ onEvent: () => reject("listener") as never });
    await reconciler.setDesired(1);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });

  it.each([
    ["another realm's promise", foreign],
    ["a thenable", lazy],
  ])("%s of assess", async (_, reject) => {
    const { reconciler, clock } = setUpReconciler({ staleness: { assess: () => reject("assess") as never } });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await clock.advance(60_000);
    expect(conditionsOf(await reconciler.reconcile()).StalenessFailed).toMatch("must answer at once");
  });

  it.each([
    ["a list", (items: unknown[]) => items],
    ["a set", (items: unknown[]) => new Set(items)],
    ["an envelope", (items: unknown[]) => ({ complete: true, items, resources: items })],
  ])("promises in %s that observe or desired answers", async (_, answer) => {
    const promises = () => answer([1, 2, 3].map((at) => foreign(`item ${at}`)));
    const { reconciler, clock } = setUpReconciler({
      observe: () => promises() as never,
      desired: () => promises() as never,
    });
    const report = await reconciler.reconcile();
    expect(conditionsOf(report).ObserveFailed).toMatch("the item at 0");
    expect(conditionsOf(report).DesiredFailed).toBeDefined();
    await settle(clock);
  });
});
