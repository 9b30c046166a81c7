import { expect } from "vitest";
import { withIdempotency } from "../../src/index.ts";
import type { LedgerStore } from "../../src/store.ts";
import { until } from "./until.ts";

/** Two thirds of it are longer than any stop of an engine that a claim is to outlive, on a busy machine too. */
const LEASE_MS = 15_000;
/** By less than this nothing but a renewal puts the end of a lease off. */
const RENEWED_BY_MS = 2_500;

/** A claim whose function is under way. */
export interface HeldClaim {
  /** Waits for a renewal that comes from now on, lets the function return, and checks that it ran once and is replayed. */
  isRenewedAndCompletesOnce(): Promise<void>;
}

/** Calls a function on the key given, and gives its claim once the function has begun. */
export async function holdClaim(store: LedgerStore, key: string): Promise<HeldClaim> {
  let runs = 0;
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let mayReturn = (): void => {};
  const returns = new Promise<void>((resolve) => {
    mayReturn = resolve;
  });
  const events: string[] = [];
  const hold = withIdempotency(
    async (_: string, { signal, fencingToken: token }) => {
      runs += 1;
      begin();
      await returns;
      return { token, wasAborted: signal.aborted };
    },
    { store, operation: "hold", leaseMs: LEASE_MS, onEvent: ({ type }) => events.push(type) },
  );
  const call = hold.run("input", { key });
  await Promise.race([begun, call]);

  async function leaseEnd(): Promise<number> {
    const [view] = await store.executions.list({ operation: "hold", limit: 1 }, { timeoutMs: 5_000 });
    if (view?.status !== "running") throw new Error(`the claim is ${view?.status}`);
    return performance.now() + view.leaseRemainingMs;
  }
  await leaseEnd();

  return {
    async isRenewedAndCompletesOnce() {
      let before: number | undefined;
      await until("the lease is renewed", async () => {
        before ??= await leaseEnd();
        return (await leaseEnd()) > before + RENEWED_BY_MS;
      });
      mayReturn();
      const { value, attempt, replayed } = await call;
      expect({ attempt, replayed, wasAborted: value.wasAborted }).toEqual({
        attempt: 1,
        replayed: false,
        wasAborted: false,
      });
      expect(await hold.run("input", { key })).toMatchObject({ value, attempt: 1, replayed: true });
      expect(runs).toBe(1);
      expect(events).not.toContain("lease_lost");
    },
  };
}
