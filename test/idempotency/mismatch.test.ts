import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("another payload under one key", () => {
  it("is FINGERPRINT_MISMATCH after the completion, and the record stays as it is", async () => {
    const { once, record } = setUp();
    const charge = once((input: { amount: number }) => `charged ${input.amount}`);
    await charge({ amount: 5 });
    const before = await record();
    const error = (await thrownBy(charge({ amount: 6 }))) as Error;
    expect(error).toMatchObject({ code: "FINGERPRINT_MISMATCH", retryable: false });
    expect(`${error.message}${JSON.stringify(error)}`).not.toMatch(/charged|amount|order-17|[0-9a-f]{16}/);
    expect(await record()).toEqual(before);
    expect(await charge({ amount: 5 })).toBe("charged 5");
  });

  it.each(["reject", "wait"] as const)(
    "is FINGERPRINT_MISMATCH at once while the first runs (%s)",
    async (inFlight) => {
      const { once, clock } = setUp();
      const gate = deferred<string>();
      const charge = once((_input: number) => gate.promise, { inFlight });
      const first = charge(5);
      await clock.advance(0);
      await expect(charge(6)).rejects.toMatchObject({ code: "FINGERPRINT_MISMATCH" });
      gate.resolve("done");
      expect(await first).toBe("done");
    },
  );

  it("is accepted after a release", async () => {
    const { once } = setUp();
    const charge = once((amount: number) => {
      if (amount === 5) throw new Error("declined");
      return amount;
    });
    await expect(charge(5)).rejects.toThrow("declined");
    expect(await charge(6)).toBe(6);
    await expect(charge(5)).rejects.toMatchObject({ code: "FINGERPRINT_MISMATCH" });
  });

  it("is a mismatch also for a waiter whose key another payload got meanwhile", async () => {
    const { once, rival, clock } = setUp();
    const [first, second] = [deferred<string>(), deferred<string>()];
    const owner = watch(once((_input: number) => first.promise)(5));
    await clock.advance(0);
    const waiter = watch(once((_input: number) => "never", { inFlight: "wait", maxWaitMs: 60_000 })(5));
    await clock.advance(0);
    const other = rival((_input: number) => second.promise);
    // The release and the other payload's claim reach the store before the waiter hears of the release.
    first.reject(new Error("declined"));
    const others = watch(other(6).catch(() => other(6)));
    await clock.advance(0);
    second.resolve("sixth");
    await clock.advance(1_000);
    expect(owner).toMatchObject({ state: "rejected" });
    expect(others.state).toBe("fulfilled");
    expect(waiter).toMatchObject({ state: "rejected", error: { code: "FINGERPRINT_MISMATCH" } });
  });

  it("is a mismatch also for a waiter who only hears that the other payload is completed", async () => {
    const { once, rival, clock } = setUp({}, () => ({ watch: () => () => {} }));
    const gate = deferred<string>();
    const owner = watch(rival((_input: number) => gate.promise)(5));
    await clock.advance(0);
    const waiter = watch(once((_input: number) => "never", { inFlight: "wait", maxWaitMs: 60_000 })(5));
    // By now the waiter looks twice a second at most: the release and the other payload come and go in between.
    await clock.advance(10_000);
    gate.reject(new Error("declined"));
    await clock.advance(0);
    expect(await rival((_input: number) => "sixth")(6)).toBe("sixth");
    await clock.advance(500);
    expect(owner.state).toBe("rejected");
    expect(waiter).toMatchObject({ state: "rejected", error: { code: "FINGERPRINT_MISMATCH" } });
  });

  it("is not noticed where fingerprints are off", async () => {
    const { once } = setUp();
    const charge = once((amount: number) => amount, { fingerprint: false });
    expect(await charge(5)).toBe(5);
    expect(await charge(6)).toBe(5);
  });
});

describe("the fingerprint's moment", () => {
  it("is before the function runs, so that a function that changes its input completes its own record", async () => {
    const { once } = setUp();
    const charge = once((input: { amount: number }) => {
      input.amount = 999;
      return "done";
    });
    expect(await charge({ amount: 5 })).toBe("done");
    expect(await charge({ amount: 5 })).toBe("done");
    await expect(charge({ amount: 999 })).rejects.toMatchObject({ code: "FINGERPRINT_MISMATCH" });
  });

  it("is before anything is awaited, so that a caller who changes the input at once changes nothing", async () => {
    const { once } = setUp();
    const charge = once((input: { amount: number }) => input.amount, {
      key: async () => {
        await Promise.resolve();
        return "order-17";
      },
    });
    const input = { amount: 5 };
    const charged = charge(input);
    input.amount = 6;
    await charged;
    expect(await charge.run({ amount: 5 })).toMatchObject({ replayed: true });
  });
});
