import { EvenkeelError } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { CallLog, type Fault, faultyStore, ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { sparedLeases } from "../../src/coordination/spared-leases.ts";

const CALL = { timeoutMs: 1_000 };

/** Leases whose next calls suffer what a test says. */
function setUp() {
  const clock = new ManualClock();
  const ledger = memoryStore({ clock });
  const calls = new CallLog();
  const next: { fault: Fault | undefined } = { fault: undefined };
  const { leases } = faultyStore(ledger, { clock, decide: () => next.fault, onCall: calls.onCall });
  return { clock, calls, next, leases: sparedLeases(leases, clock) };
}

describe("leases of a store that is spared", () => {
  it("fail alike for a moment where one failed and nothing is answered, and are sent again after that", async () => {
    const { clock, calls, next, leases } = setUp();
    const holder = { name: "a", holder: "one", epoch: 1 };
    next.fault = "lostRequest";
    const failure = await leases.list("", CALL).catch((error: unknown) => error);
    await clock.advance(49);
    await expect(leases.list("", CALL)).rejects.toBe(failure);
    await expect(leases.acquire({ ...holder, nonce: "n", durationMs: 1_000 }, CALL)).rejects.toBe(failure);
    await expect(leases.renew({ ...holder, durationMs: 1_000 }, CALL)).rejects.toBe(failure);
    await expect(leases.release(holder, CALL)).rejects.toBe(failure);
    expect(calls.total).toBe(1);
    await clock.advance(1);
    next.fault = undefined;
    expect(await leases.list("", CALL)).toEqual([]);
    expect(calls.total).toBe(2);
  });

  it("are all sent while some are answered: what fails for one costs no other anything", async () => {
    const { clock, calls, next, leases } = setUp();
    await leases.list("", CALL);
    next.fault = "lostRequest";
    for (let ms = 0; ms < 500; ms += 10) {
      await expect(leases.list("", CALL)).rejects.toThrow();
      await clock.advance(10);
    }
    expect(calls.total).toBe(51);
    await expect(leases.list("", CALL)).rejects.toThrow();
    expect(calls.total).toBe(51);
    await clock.advance(50);
    next.fault = undefined;
    await leases.list("", CALL);
    next.fault = "lostRequest";
    await expect(leases.list("", CALL)).rejects.toThrow();
    await expect(leases.list("", CALL)).rejects.toThrow();
    expect(calls.total).toBe(54);
  });

  it("are sent where the store's own word is that it can't", async () => {
    const clock = new ManualClock();
    let sent = 0;
    const list = async (): Promise<never> => {
      sent += 1;
      throw new EvenkeelError("RECORD_CORRUPT", "One of them can't be read.");
    };
    const leases = sparedLeases({ ...memoryStore({ clock }).leases, list }, clock);
    await expect(leases.list("", CALL)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    await expect(leases.list("", CALL)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(sent).toBe(2);
  });
});
