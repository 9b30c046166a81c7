import { type ReconcilerOptions, RetryAfter, TerminalError } from "evenkeel";
import { describe, expect, it } from "vitest";
import { actionsOf, deferred, heldOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

/** A create that throws what it is told to, and remembers its keys. */
function setUpFailing(error: () => unknown, options: Partial<ReconcilerOptions> = {}) {
  const fleet = fakeFleet();
  const tries: { readonly id: string; readonly key: string; readonly attempt: number; readonly at: number }[] = [];
  let failing = error;
  const test = setUpReconciler({
    resyncIntervalMs: 3_600_000,
    ...fleet.callbacks,
    create: async (resource, ctx) => {
      const { idempotencyKey: key, attempt } = ctx;
      tries.push({ id: resource.id, key, attempt, at: test.clock.now() });
      const thrown = failing();
      if (thrown !== undefined) throw thrown;
      return fleet.callbacks.create(resource, ctx);
    },
    ...options,
  });
  const recover = (): void => {
    failing = () => undefined;
  };
  return { ...test, fleet, tries, recover };
}

describe("a create that fails", () => {
  it("is repeated with a backoff that grows, and with one idempotency key", async () => {
    const { reconciler, clock, tries, recover, fleet } = setUpFailing(() => new Error("no"));
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(1_000);
    const inFirst = tries.length;
    expect(inFirst).toBeGreaterThan(1);
    await clock.advance(60_000);
    expect(tries.length - inFirst).toBeLessThan(30);
    recover();
    // Before anything that never beats is replaced.
    await clock.advance(55_000);
    expect(fleet.ids()).toEqual(["web-0"]);
    expect(new Set(tries.map(({ key }) => key)).size).toBe(1);
    expect(tries.map(({ attempt }) => attempt)).toEqual(tries.map((_, index) => index + 1));
    await reconciler.stop();
  });

  it("is a failed action with its error, and in nobody's way", async () => {
    const error = new RangeError("no");
    const { reconciler } = setUpFailing(() => error);
    await reconciler.setDesired(1);
    const report = await reconciler.reconcile();
    expect(report.actions).toEqual([
      { type: "create", id: "web-0", incarnation: 1, reason: "Missing", result: "failed", error },
    ]);
    expect(report.converged).toBe(false);
    expect(report.nextWakeAt).toBeDefined();
  });

  it("is tried at once when somebody wakes it", async () => {
    const { reconciler, clock, tries, recover, fleet } = setUpFailing(() => new Error("no"));
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(600_000);
    recover();
    const before = tries.length;
    reconciler.wake("web-0");
    await settle(clock);
    expect(tries.length).toBe(before + 1);
    expect(fleet.ids()).toEqual(["web-0"]);
    await reconciler.stop();
  });

  it("is not tried at once when somebody wakes another, or everything", async () => {
    const { reconciler, clock, tries } = setUpFailing(() => new Error("no"));
    await reconciler.setDesired(2);
    for (let time = 0; time < 12; time += 1) {
      await reconciler.reconcile();
      await clock.advance(400_000);
    }
    await reconciler.reconcile();
    tries.length = 0;
    reconciler.wake();
    await reconciler.reconcile();
    expect(tries).toEqual([]);
  });

  it("that times out is unknown: the row is held for its lease, and then tried again with the same key", async () => {
    const fleet = fakeFleet();
    const keys: string[] = [];
    const { reconciler, clock } = setUpReconciler({
      actionTimeoutMs: 10_000,
      ...fleet.callbacks,
      create: (resource, ctx) => {
        keys.push(ctx.idempotencyKey);
        return keys.length === 1 ? new Promise(() => {}) : fleet.callbacks.create(resource, ctx);
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(30_000);
    expect(fleet.ids()).toEqual(["web-0"]);
    expect(keys).toHaveLength(2);
    expect(keys[1]).toBe(keys[0]);
    await reconciler.stop();
  });

  it.each([[5], ["x"], [{ externalId: 7 }], [{ externalId: "" }]])(
    "answers %j: a failure that names it, and no resource",
    async (answer) => {
      const { reconciler, ledger } = setUpReconciler({ create: async () => answer as never });
      await reconciler.setDesired(1);
      const [action] = (await reconciler.reconcile()).actions;
      expect(action).toMatchObject({ result: "failed", error: { message: expect.stringContaining("web-0") } });
      expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
    },
  );
});

describe("RetryAfter", () => {
  it("wins over the backoff and over wake(id)", async () => {
    const { reconciler, clock, tries } = setUpFailing(() => new RetryAfter(45_000));
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(44_999);
    reconciler.wake("web-0");
    await settle(clock);
    expect(tries).toHaveLength(1);
    await clock.advance(2);
    await settle(clock);
    expect(tries).toHaveLength(2);
    await reconciler.stop();
  });

  it("may be shorter than the backoff", async () => {
    const { reconciler, clock, tries } = setUpFailing(() => new RetryAfter(50));
    await reconciler.setDesired(1);
    reconciler.start();
    await clock.advance(10_000);
    // Every 50 ms, as asked, and however often it failed.
    expect(tries.length).toBeGreaterThan(150);
    expect(tries.length).toBeLessThan(210);
    await reconciler.stop();
  });
});

describe("TerminalError", () => {
  async function setUpTerminal() {
    const test = setUpFailing(() => new TerminalError("bad spec"));
    await test.reconciler.setDesired([{ id: "a", spec: 1 }]);
    test.reconciler.start();
    await test.clock.advance(3_600_000);
    expect(test.tries).toHaveLength(1);
    expect(heldOf(await test.reconciler.plan())).toEqual(["create a: backoff"]);
    return test;
  }

  it("is not tried again before the next generation", async () => {
    const { reconciler, clock, tries, recover, fleet } = await setUpTerminal();
    recover();
    // The same again is no new generation.
    await reconciler.setDesired([{ id: "a", spec: 1 }]);
    await clock.advance(100_000);
    expect(tries).toHaveLength(1);
    await reconciler.setDesired([{ id: "a", spec: 2 }]);
    await clock.advance(60_000);
    expect(tries.length).toBeGreaterThan(1);
    expect(fleet.ids()).toEqual(["a"]);
    await reconciler.stop();
  });

  it.each([[undefined], ["a"]])("is tried again at wake(%s), and not at pause() and resume()", async (id) => {
    const { reconciler, clock, tries } = await setUpTerminal();
    reconciler.pause();
    reconciler.resume();
    await clock.advance(100_000);
    expect(tries).toHaveLength(1);
    reconciler.wake(id);
    await settle(clock);
    expect(tries).toHaveLength(2);
    await reconciler.stop();
  });

  it("of one generation says nothing of the next, also when it comes late", async () => {
    const gate = deferred();
    const fleet = fakeFleet();
    let tries = 0;
    const { reconciler, clock } = setUpReconciler({
      resyncIntervalMs: 3_600_000,
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        tries += 1;
        if (tries > 1) return fleet.callbacks.create(resource, ctx);
        await gate.promise;
        throw new TerminalError("bad spec");
      },
    });
    await reconciler.setDesired([{ id: "a", spec: 1 }]);
    reconciler.start();
    await settle(clock);
    await reconciler.setDesired([{ id: "a", spec: 2 }]);
    await settle(clock);
    gate.resolve();
    await clock.advance(1_000);
    expect(tries).toBeGreaterThan(1);
    await reconciler.stop();
  });

  it("of a create says that nothing was made: unwanted, it is dropped without a call", async () => {
    const { reconciler, clock, fleet } = await setUpTerminal();
    await reconciler.setDesired(0);
    await clock.advance(1_000);
    expect(fleet.calls).toEqual([]);
    expect(await reconciler.status()).toMatchObject({ converged: true, observed: { PENDING: 0, TERMINATED: 1 } });
    await reconciler.stop();
  });
});

describe("the bound on concurrency", () => {
  it("holds for everything that calls back together", async () => {
    let running = 0;
    let most = 0;
    const slowly = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await test.clock.sleep(100);
      running -= 1;
    };
    const test = setUpReconciler({
      concurrency: 4,
      create: slowly,
      terminate: slowly,
      update: slowly,
      maxUnavailable: 100,
    });
    const { reconciler, clock } = test;
    const specs = (from: number, to: number, spec: number) =>
      Array.from({ length: to - from }, (_, index) => ({ id: `r-${from + index}`, spec }));
    await reconciler.setDesired(specs(0, 20, 1));
    const first = reconciler.reconcile();
    await clock.advance(5_000);
    await first;
    await reconciler.setDesired(specs(10, 30, 2));
    const second = reconciler.reconcile();
    await clock.advance(5_000);
    expect(new Set(actionsOf(await second).map((action) => action.split(" ")[0]))).toEqual(
      new Set(["create", "terminate", "update"]),
    );
    expect(most).toBe(4);
  });
});
