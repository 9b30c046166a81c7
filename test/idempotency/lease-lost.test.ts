import type { IdempotencyOptions } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred, setUp, watch } from "./set-up.ts";

/** A stale attempt: it fell silent under its lease of 3 s, and is about to finish. */
async function stale(options: Partial<IdempotencyOptions<undefined, string>> = {}) {
  const partition = new Partition();
  const world = setUp({ partition });
  const gate = deferred<string>();
  const run = world.once<undefined, string>(() => gate.promise, { leaseMs: 3_000, ...options });
  const called = watch(run.run(undefined));
  await world.clock.advance(0);
  partition.cut("both");
  await world.clock.advance(3_000);
  partition.heal();
  return { ...world, gate, called };
}

describe("a stale attempt that finishes", () => {
  it("adopts the winner's outcome", async () => {
    const { rival, gate, called, clock, types, eventsOf } = await stale();
    expect(await rival(() => "the winner's")(undefined)).toBe("the winner's");
    gate.resolve("the stale one's");
    await clock.advance(0);
    expect(called.value).toMatchObject({ value: "the winner's", replayed: true, attempt: 2 });
    expect(eventsOf("stale_write")).toMatchObject([{ attempt: 1 }]);
    expect(types()).not.toContain("completed");
    expect(await rival(() => "never")(undefined)).toBe("the winner's");
  });

  it("adopts when it throws, too, and its own error is in the event", async () => {
    const { rival, gate, called, clock, eventsOf } = await stale();
    await rival(() => "the winner's")(undefined);
    const own = new Error("the stale one's");
    gate.reject(own);
    await clock.advance(0);
    expect(called.value).toMatchObject({ value: "the winner's" });
    expect(eventsOf("lease_lost").some((event) => event.error === own)).toBe(true);
  });

  it("adopts the winner's stored error", async () => {
    const { rival, gate, called, clock } = await stale();
    const declined = Object.assign(new RangeError("declined"), { code: "E_FUNDS" });
    await rival(() => Promise.reject(declined), { onError: "store" })(undefined).catch(() => {});
    gate.resolve("the stale one's");
    await clock.advance(0);
    expect(called).toMatchObject({ state: "rejected", error: { name: "RangeError", message: "declined" } });
  });

  it("waits for a winner that is still running", async () => {
    const { rival, gate, called, clock } = await stale();
    const winner = deferred<string>();
    const winning = watch(rival(() => winner.promise)(undefined));
    await clock.advance(0);
    gate.resolve("the stale one's");
    await clock.advance(5_000);
    expect(called.state).toBe("pending");
    winner.resolve("the winner's");
    await clock.advance(1_000);
    expect(called.value).toMatchObject({ value: "the winner's", attempt: 2 });
    expect(winning.value).toBe("the winner's");
  });

  it("is LEASE_LOST when the winner takes longer than maxWaitMs", async () => {
    const { rival, gate, called, clock } = await stale({ maxWaitMs: 2_000 });
    const winner = deferred<string>();
    const winning = watch(rival(() => winner.promise)(undefined));
    await clock.advance(0);
    gate.resolve("the stale one's");
    await clock.advance(2_000);
    expect(called).toMatchObject({ state: "rejected", error: { code: "LEASE_LOST", retryable: true } });
    winner.resolve("the winner's");
    await clock.advance(0);
    expect(winning.value).toBe("the winner's");
  });

  it("is LEASE_LOST when the winner has released", async () => {
    const { rival, gate, called, clock, record } = await stale();
    await rival(() => Promise.reject(new Error("declined")))(undefined).catch(() => {});
    gate.resolve("the stale one's");
    await clock.advance(20_000);
    expect(called).toMatchObject({ state: "rejected", error: { code: "LEASE_LOST" } });
    expect(await record()).toBeUndefined();
  });

  it('keeps its own value with onLeaseLost: "own", and overwrites nothing', async () => {
    const { rival, gate, called, clock } = await stale({ onLeaseLost: "own" });
    await rival(() => "the winner's")(undefined);
    gate.resolve("the stale one's");
    await clock.advance(0);
    expect(called.value).toMatchObject({ value: "the stale one's", replayed: false, attempt: 1 });
    expect(await rival(() => "never")(undefined)).toBe("the winner's");
  });

  it('throws its own error with onLeaseLost: "own"', async () => {
    const { rival, gate, called, clock } = await stale({ onLeaseLost: "own" });
    await rival(() => "the winner's")(undefined);
    const own = new Error("the stale one's");
    gate.reject(own);
    await clock.advance(0);
    expect(called.error).toBe(own);
  });

  it('is LEASE_LOST with onLeaseLost: "throw"', async () => {
    const { rival, gate, called, clock } = await stale({ onLeaseLost: "throw" });
    await rival(() => "the winner's")(undefined);
    gate.resolve("the stale one's");
    await clock.advance(0);
    expect(called).toMatchObject({ state: "rejected", error: { code: "LEASE_LOST" } });
  });

  it("completes when nobody took over: its token is the highest", async () => {
    const { rival, gate, called, clock, eventsOf } = await stale({ onLeaseLost: "throw" });
    gate.resolve("late, and the only one");
    await clock.advance(0);
    expect(called.value).toMatchObject({ value: "late, and the only one", replayed: false, attempt: 1 });
    expect(await rival(() => "never")(undefined)).toBe("late, and the only one");
    expect(eventsOf("stale_write")).toEqual([]);
  });

  it("can't complete early, record a step or begin one", async () => {
    const partition = new Partition();
    const { once, rival, clock } = setUp({ partition });
    const gate = deferred();
    let ran = false;
    const errors: unknown[] = [];
    const called = watch(
      once(
        async (_input: undefined, ctx) => {
          await gate.promise;
          await ctx.complete("the stale one's").catch((error: unknown) => errors.push(error));
          const step = ctx.step("late", () => {
            ran = true;
          });
          await step.catch((error: unknown) => errors.push(error));
          return "the stale one's";
        },
        { leaseMs: 3_000 },
      )(undefined),
    );
    await clock.advance(0);
    partition.cut("both");
    await clock.advance(3_000);
    partition.heal();
    await rival(() => "the winner's")(undefined);
    gate.resolve();
    await clock.advance(0);
    expect(errors).toMatchObject([{ code: "LEASE_LOST" }, { code: "LEASE_LOST" }]);
    expect(ran).toBe(false);
    expect(called.value).toBe("the winner's");
  });

  it("tells that the lease was lost once, however it found out", async () => {
    const { rival, gate, clock, eventsOf } = await stale();
    await rival(() => "the winner's")(undefined);
    gate.resolve("the stale one's");
    await clock.advance(0);
    expect(eventsOf("lease_lost")).toHaveLength(1);
  });
});
