import type { AbandonedExecution } from "evenkeel";
import { describe, expect, it } from "vitest";
import { recordId } from "../../src/idempotency/key.ts";
import { CALL, deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("a record whose holder fell silent", () => {
  it("is not taken over while the lease lasts, and is at its very end", async () => {
    const { once, inner, clock } = setUp();
    const id = recordId("charge", "", "order-17");
    const times = { leaseMs: 10_000, retentionMs: 60_000 };
    const request = { id, operation: "charge", scope: "", nonce: "dead", ...times, onAbandoned: "takeover" as const };
    await inner.executions.claim(request, CALL);
    const charge = once(() => "done");
    await clock.advance(9_999);
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "IN_PROGRESS", retryAfterMs: 1 });
    await clock.advance(1);
    expect(await charge.run(undefined)).toMatchObject({ value: "done", attempt: 2, replayed: false });
  });

  it("is run again as attempt 2, under a higher token, by one of many callers", async () => {
    const { once, crash, clock, eventsOf } = setUp();
    const tokens: number[] = [];
    await crash((ctx) => void tokens.push(ctx.fencingToken));
    const charge = once(async (_input: undefined, ctx) => {
      tokens.push(ctx.fencingToken);
      await clock.sleep(10);
      return ctx.attempt;
    });
    const calls = Array.from({ length: 50 }, () => watch(charge(undefined)));
    await clock.advance(10);
    expect(calls.filter(({ value }) => value === 2)).toHaveLength(1);
    expect(calls.filter(({ error }) => (error as { code?: string })?.code === "IN_PROGRESS")).toHaveLength(49);
    expect(tokens[1]).toBeGreaterThan(tokens[0] as number);
    expect(eventsOf("taken_over")).toMatchObject([{ attempt: 2, fencingToken: tokens[1] }]);
    expect(eventsOf("claimed")).toEqual([]);
  });

  it("is counted on over several crashes", async () => {
    const { once, crash } = setUp();
    await crash();
    await crash();
    await crash();
    expect(await once((_input: undefined, ctx) => ctx.attempt)(undefined)).toBe(4);
  });

  it("is taken over by the same payload only", async () => {
    const { once, crash } = setUp();
    await crash(() => {}, { amount: 5 });
    const charge = once((input: { amount: number }) => input.amount);
    await expect(charge({ amount: 6 })).rejects.toMatchObject({ code: "FINGERPRINT_MISMATCH" });
    expect(await charge({ amount: 5 })).toBe(5);
  });

  it('is ABANDONED with "reject", until its retention ends', async () => {
    const { once, crash, clock } = setUp();
    let runs = 0;
    await crash(() => {}, undefined, { retentionMs: 60_000 });
    const charge = once(() => ++runs, { onAbandoned: "reject" });
    for (let time = 0; time < 3; time += 1) {
      expect(await thrownBy(charge(undefined))).toMatchObject({ code: "ABANDONED", retryable: false });
      await clock.advance(19_999);
    }
    expect(runs).toBe(0);
    await clock.advance(3);
    expect(await charge.run(undefined)).toMatchObject({ value: 1, attempt: 1 });
  });
});

describe("a resolver", () => {
  it("is asked with the record, and what it knows is stored and replayed", async () => {
    const { once, rival, crash, clock } = setUp();
    await crash(async (ctx) => {
      await ctx.step("reserve", () => ({ seat: 12 }));
      await ctx.step("charge", () => undefined);
    });
    const lapsedAt = clock.now();
    await clock.advance(5_000);
    const asked: AbandonedExecution[] = [];
    let runs = 0;
    const charge = once<undefined, unknown>(() => ++runs, {
      onAbandoned: async (record) => {
        asked.push(record);
        return { completed: { known: true } };
      },
    });
    expect(await charge.run(undefined)).toMatchObject({ value: { known: true }, replayed: true });
    expect(asked).toEqual([
      {
        operation: "charge",
        scope: "",
        key: "order-17",
        attempt: 1,
        leaseExpiredAt: lapsedAt,
        steps: [
          { name: "reserve", value: { seat: 12 } },
          { name: "charge", value: undefined },
        ],
      },
    ]);
    expect(await rival(() => "never")(undefined)).toEqual({ known: true });
    expect(runs).toBe(0);
  });

  it("sees the steps in the order in which they were started, whatever finished first", async () => {
    const { once, crash } = setUp();
    await crash(async (ctx) => {
      const gate = deferred();
      const slow = ctx.step("slow", () => gate.promise);
      await ctx.step("fast", () => {});
      gate.resolve();
      await slow;
    });
    let names: string[] = [];
    const charge = once<undefined, string>(() => "ran", {
      onAbandoned: ({ steps }) => {
        names = steps.map(({ name }) => name);
        return { completed: "known" };
      },
    });
    expect(await charge(undefined)).toBe("known");
    expect(names).toEqual(["slow", "fast"]);
  });

  it('lets the function run as the next attempt with "retry", its steps remembered', async () => {
    const { once, crash } = setUp();
    let reserved = 0;
    await crash((ctx) => ctx.step("reserve", () => void reserved++));
    const charge = once<undefined, number>(
      async (_input, ctx) => {
        await ctx.step("reserve", () => void reserved++);
        return ctx.attempt;
      },
      { onAbandoned: () => "retry" },
    );
    expect(await charge(undefined)).toBe(2);
    expect(reserved).toBe(1);
  });

  it('rejects with "unknown" and leaves the record as it was, for the next one to be asked', async () => {
    const { once, crash, clock, inner } = setUp();
    await crash();
    const [before] = await inner.executions.list({ limit: 1 }, { timeoutMs: 1_000 });
    const attempts: number[] = [];
    const charge = once<undefined, string>(() => "never", {
      onAbandoned: ({ attempt }) => {
        attempts.push(attempt);
        return "unknown";
      },
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "ABANDONED" });
    await clock.advance(1_000);
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "ABANDONED" });
    const [after] = await inner.executions.list({ limit: 1 }, { timeoutMs: 1_000 });
    expect(attempts).toEqual([1, 1]);
    expect(after).toMatchObject({ status: "abandoned", attempt: 1, retryGranted: false });
    expect((after as { leaseExpiredAt?: number }).leaseExpiredAt).toBe(
      (before as { leaseExpiredAt?: number }).leaseExpiredAt,
    );
  });

  it.each([
    ["throws", () => Promise.reject(new Error("bank is down"))],
    ["answers something else", () => "perhaps" as never],
    ["answers nothing", () => undefined as never],
    ["answers a promise of an outcome that it did not await", () => ({ completed: Promise.reject(new Error("bank")) })],
    [
      "answers what can't be read",
      () => ({
        get completed(): string {
          throw new Error("unreadable");
        },
      }),
    ],
  ])("that %s is ABANDONED with a cause, and the record stays", async (_what, onAbandoned) => {
    const { once, crash, record, types } = setUp();
    await crash();
    const error = (await thrownBy(once<undefined, unknown>(() => "never", { onAbandoned })(undefined))) as Error;
    expect(error).toMatchObject({ code: "ABANDONED" });
    expect(error.cause).toBeInstanceOf(Error);
    expect(await record()).toMatchObject({ status: "abandoned", attempt: 1 });
    expect(types()).toEqual(["taken_over", "rejected"]);
  });

  it("is asked by one of many callers, who holds the lease while it thinks", async () => {
    const { once, crash, clock } = setUp();
    await crash();
    let asked = 0;
    const charge = once<undefined, string>(() => "never", {
      leaseMs: 1_000,
      onAbandoned: async () => {
        asked += 1;
        await clock.sleep(5_000);
        return { completed: "known" };
      },
    });
    const calls = Array.from({ length: 20 }, () => watch(charge(undefined)));
    await clock.advance(4_000);
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    await clock.advance(1_000);
    expect(calls.filter(({ value }) => value === "known")).toHaveLength(1);
    expect(asked).toBe(1);
  });

  it("may say that the outcome was undefined", async () => {
    const { once, crash } = setUp();
    await crash();
    const charge = once<undefined, undefined>(() => undefined, { onAbandoned: () => ({ completed: undefined }) });
    expect(await charge.run(undefined)).toMatchObject({ value: undefined, replayed: true });
    expect(await charge.run(undefined)).toMatchObject({ value: undefined, replayed: true });
  });

  it("is not asked for a record that was never abandoned", async () => {
    const { once } = setUp();
    const charge = once<undefined, string>(() => "ran", {
      onAbandoned: () => {
        throw new Error("asked");
      },
    });
    expect(await charge(undefined)).toBe("ran");
  });
});
