import { type Explanation, RetryAfter } from "evenkeel";
import { describe, expect, it } from "vitest";
import { deferred, heldOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const told = (explained: readonly Explanation[]) =>
  explained.map(({ action, outcome, reason }) => `${action} ${outcome}: ${reason}`);

describe("explain() ends with how it stands", () => {
  it("of what is missing and was never touched", async () => {
    const { reconciler } = setUpReconciler();
    await reconciler.setDesired(1);
    expect(told(await reconciler.explain("web-0"))).toEqual(["create skipped: NextPass"]);
  });

  it("of what was made once and has to go", async () => {
    const { reconciler } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await reconciler.setDesired(0);
    expect(told(await reconciler.explain("web-0"))).toEqual(["create done: Missing", "terminate skipped: NextPass"]);
    reconciler.pause();
    expect(told(await reconciler.explain("web-0"))).toEqual([
      "create done: Missing",
      "terminate held: Surplus, held by paused",
    ]);
  });

  it("of what is under way", async () => {
    const running = deferred();
    const { reconciler, clock } = setUpReconciler({ create: async () => running.promise });
    await reconciler.setDesired(1);
    const pass = reconciler.reconcile();
    await settle(clock);
    expect(told(await reconciler.explain("web-0"))).toEqual(["none skipped: InProgress"]);
    running.resolve();
    await pass;
  });

  it("of what is held by a bound of the whole group", async () => {
    const { reconciler } = setUpReconciler({ maxActionsPerPass: 1 });
    await reconciler.setDesired(3);
    await reconciler.reconcile();
    expect(told(await reconciler.explain("web-1")).at(-1)).toBe("create skipped: NextPass");
    expect(told(await reconciler.explain("web-2")).at(-1)).toBe("create held: Missing, held by budget");
  });

  it("of what waits because nobody can see", async () => {
    const { reconciler } = setUpReconciler({ observe: () => Promise.reject(new Error("no")) });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(told(await reconciler.explain("web-0"))).toEqual(["create held: Missing, held by unknown"]);
  });

  it("of what fell silent while nobody may be declared dead", async () => {
    const { reconciler, clock, ledger } = setUpReconciler();
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    await ledger.heartbeat("web-0");
    await clock.advance(31_000);
    expect(told(await reconciler.explain("web-0")).at(-1)).toBe("replace skipped: NextPass");
    reconciler.start();
    await settle(clock);
    expect(told(await reconciler.explain("web-0")).at(-1)).toContain("held by grace");
    await reconciler.stop();
  });

  it("once, and not twice where that is what happened last", async () => {
    const { reconciler, clock } = setUpReconciler();
    await reconciler.setDesired(1);
    reconciler.pause();
    await reconciler.reconcile();
    await clock.advance(1_000);
    const explained = await reconciler.explain("web-0");
    expect(told(explained)).toEqual(["create held: Missing, held by paused"]);
    expect(explained[0]?.at).toBe(clock.now());
  });
});

describe("explain() says of a failed action", () => {
  it.each([
    ["TypeError", new TypeError("secret")],
    ["RetryAfter", new RetryAfter(1_000)],
    ["ECONNREFUSED", Object.assign(new Error("secret"), { code: "ECONNREFUSED" })],
    ["string", "secret"],
  ])("that it was %s, and not what it says", async (name, error) => {
    const { reconciler } = setUpReconciler({ create: () => Promise.reject(error) });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    const explained = told(await reconciler.explain("web-0"));
    expect(explained[0]).toBe(`create failed: Missing, failed: ${name}`);
    expect(explained.join()).not.toContain("secret");
  });
});

describe("creations that were not begun, because others failed,", () => {
  it("are held in the report, the metrics and explain() alike", async () => {
    const { callbacks } = fakeFleet();
    const { reconciler } = setUpReconciler({ ...callbacks, create: () => Promise.reject(new Error("no")) });
    await reconciler.setDesired(3);
    const report = await reconciler.reconcile();
    expect(heldOf(report)).toEqual(["create web-1: backoff", "create web-2: backoff"]);
    expect(told(await reconciler.explain("web-1"))).toEqual(["create held: Missing, held by backoff"]);
    const held = reconciler
      .metrics()
      .find(({ name, labels }) => name === "reconciler_actions_held_total" && labels["reason"] === "backoff");
    expect(held).toMatchObject({ value: 2 });
  });
});
