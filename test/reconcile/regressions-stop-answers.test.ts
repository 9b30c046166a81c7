import { type ReconcilerOptions, TerminalError } from "evenkeel";
import { describe, expect, it } from "vitest";
import { fakeLeader, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

/** A creation that does its work, and answers only once it is told to stop. */
function answeringOnAbort(answer: () => unknown): ReconcilerOptions["create"] {
  return (_, { signal }) =>
    new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => {
        try {
          resolve(answer() as { externalId: string });
        } catch (error) {
          reject(error);
        }
      });
    });
}

describe("what a callback answers to a stop", () => {
  it("is kept: what was made is known", async () => {
    const { reconciler, ledger, clock } = setUpReconciler({ create: answeringOnAbort(() => ({ externalId: "vm-1" })) });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(0);
    await stopped;
    expect(await ledger.get("web-0")).toMatchObject({ state: "PROVISIONED", externalId: "vm-1" });
  });

  it("is believed where it says that nothing was done", async () => {
    const create = answeringOnAbort(() => {
      throw new TerminalError("nothing was made");
    });
    const { reconciler, ledger, store, clock, fleet } = setUpReconciler({ create });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    const stopped = reconciler.stop({ graceMs: 0 });
    await clock.advance(0);
    await stopped;
    const page = await store.resources?.list({ group: "web", limit: 10 }, { timeoutMs: 1_000 });
    expect(page).toMatchObject([{ state: "PENDING", attempt: 0 }]);
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    expect(fleet.calls).toEqual([]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "TERMINATED" });
  });

  it("is waited for one second, and then its row is free for whoever comes next", async () => {
    const { reconciler, ledger, clock } = setUpReconciler({ create: () => new Promise(() => {}) });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    let isStopped = false;
    const stopped = reconciler.stop({ graceMs: 0 }).then(() => {
      isStopped = true;
    });
    await clock.advance(999);
    expect(isStopped).toBe(false);
    await clock.advance(1);
    await stopped;
    const row = await ledger.get("web-0");
    expect(row).toMatchObject({ state: "PENDING" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("is not waited for when the leadership is lost", async () => {
    const leader = fakeLeader(1);
    const { reconciler, ledger, clock } = setUpReconciler({
      leader,
      create: answeringOnAbort(() => ({ externalId: "vm-1" })),
    });
    await reconciler.setDesired(1);
    const reported = reconciler.reconcile();
    await settle(clock);
    leader.lose();
    await settle(clock);
    await reported;
    expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
  });
});
