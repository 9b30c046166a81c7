import { withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { ClaimRequest } from "../../../src/store.ts";

const CALL = { timeoutMs: 1_000 };

function claim(index: number, overrides: Partial<ClaimRequest> = {}): ClaimRequest {
  const id = index.toString(16).padStart(64, "0");
  const times = { leaseMs: 1_000, retentionMs: 9_000 };
  return { id, operation: "charge", scope: "", nonce: id, ...times, onAbandoned: "takeover", ...overrides };
}

describe("memoryStore and its bounds", () => {
  it("refuses a new key when it is full, and answers the known ones", async () => {
    const store = memoryStore({ clock: new ManualClock(), maxEntries: 3 });
    for (let index = 0; index < 3; index += 1) await store.executions.claim(claim(index), CALL);
    const error = await store.executions.claim(claim(3), CALL).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect((error as Error).cause).toBeUndefined();
    expect(await store.executions.claim(claim(0, { nonce: "other" }), CALL)).toMatchObject({ status: "running" });
    expect(await store.executions.list({ limit: 10 }, CALL)).toHaveLength(3);
  });

  it("never evicts a live lease or a completed record to make room", async () => {
    const clock = new ManualClock();
    const store = memoryStore({ clock, maxEntries: 2 });
    const { executions } = store;
    await executions.claim(claim(0), CALL);
    const outcome = { kind: "value", bytes: new Uint8Array(1) } as const;
    const { id, nonce } = claim(0);
    await executions.complete({ id, nonce, token: 1, outcome, retentionMs: 9_000 }, CALL);
    await executions.claim(claim(1), CALL);
    await clock.advance(8_999);
    await expect(executions.claim(claim(2), CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(await executions.get(id, CALL)).toMatchObject({ status: "completed" });
    await clock.advance(1);
    expect(await executions.claim(claim(2), CALL)).toMatchObject({ status: "acquired" });
  });

  it("makes room of expired and of released records", async () => {
    const clock = new ManualClock();
    const { executions } = memoryStore({ clock, maxEntries: 2 });
    await executions.claim(claim(0), CALL);
    await executions.claim(claim(1), CALL);
    const { id, nonce } = claim(0);
    await executions.release({ id, nonce, token: 1, as: { mode: "forget" } }, CALL);
    expect(await executions.claim(claim(2), CALL)).toMatchObject({ status: "acquired" });
    await expect(executions.claim(claim(3), CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(10_000);
    expect(await executions.claim(claim(3), CALL)).toMatchObject({ status: "acquired" });
    expect(await executions.list({ limit: 10 }, CALL)).toHaveLength(1);
  });

  it("stays flat over 20,000 keys that come and expire", async () => {
    const clock = new ManualClock();
    const { executions } = memoryStore({ clock, maxEntries: 500 });
    for (let batch = 0; batch < 100; batch += 1) {
      for (let index = 0; index < 200; index += 1) {
        expect(await executions.claim(claim(batch * 200 + index), CALL)).toMatchObject({ status: "acquired" });
      }
      await clock.advance(10_000);
    }
    expect((await executions.purge({ limit: 1_000_000 }, CALL)).purged).toBeLessThanOrEqual(500);
  });

  it("keeps no more than twice what is alive, though nobody purges and no bound is near", async () => {
    const clock = new ManualClock();
    const { executions } = memoryStore({ clock });
    for (let index = 0; index < 20_000; index += 1) {
      await executions.claim(claim(index), CALL);
      if (index % 500 === 499) await clock.advance(10_000);
    }
    expect((await executions.purge({ limit: 1_000_000 }, CALL)).purged).toBeLessThanOrEqual(2_048);
  });

  it("tells a function's caller that it is full, and does not run the function", async () => {
    const clock = new ManualClock();
    let runs = 0;
    const store = memoryStore({ clock, maxEntries: 1 });
    const charge = withIdempotency(() => ++runs, { store, clock, operation: "charge" });
    await charge(undefined, { key: "a" });
    await expect(charge(undefined, { key: "b" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(await charge(undefined, { key: "a" })).toBe(1);
    expect(runs).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("keeps the user's keys, or leaves them out where it is told to", async () => {
    for (const storeKeys of [true, false]) {
      const store = memoryStore({ clock: new ManualClock(), storeKeys });
      await withIdempotency(() => 1, { store, operation: "charge" })(undefined, { key: "order-17" });
      const [view] = await store.executions.list({ limit: 1 }, CALL);
      expect(view?.key).toBe(storeKeys ? "order-17" : undefined);
      expect(JSON.stringify(view).includes("order-17")).toBe(storeKeys);
    }
  });

  it("forgets everything when it is closed", async () => {
    const store = memoryStore();
    await store.executions.claim(claim(0), CALL);
    await store.close();
    await expect(store.executions.get(claim(0).id, CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it.each([
    [{ maxEntries: 0 }, "maxEntries"],
    [{ maxEntries: -1 }, "maxEntries"],
    [{ maxEntries: Number.NaN }, "maxEntries"],
    [{ maxEntries: "5" }, "maxEntries"],
    [{ storeKeys: "no" }, "storeKeys"],
    [{ clock: {} }, "clock"],
    [{ size: 5 }, "size"],
  ])("refuses %j by its name", (options, name) => {
    expect(() => memoryStore(options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });
});
