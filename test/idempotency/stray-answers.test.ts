import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("a claim that arrives late", () => {
  it("and is granted after its function's error was released, is undone: the key is free, also under reject", async () => {
    const fault = { delayMs: 3_000 };
    const { once, clock, record } = setUp({ faults: [{ on: "executions.claim", nth: 1, fault }] });
    let runs = 0;
    const charge = once(
      () => {
        runs += 1;
        if (runs === 1) throw new Error("the work failed");
        return "done";
      },
      { onAbandoned: "reject" },
    );
    const first = thrownBy(charge(undefined));
    await clock.advance(2_500);
    expect(await first).toMatchObject({ message: "the work failed" });
    await clock.advance(1_000);
    expect(await record()).toBeUndefined();
    expect(await charge.run(undefined)).toMatchObject({ value: "done", attempt: 1 });
  });

  it("and belongs to the attempt that runs, is left alone", async () => {
    const { once, clock } = setUp({
      faults: [{ on: "executions.claim", nth: 1, fault: { delayMs: 3_000, of: "reply" } }],
    });
    const gate = deferred<string>();
    const running = watch(once(() => gate.promise)(undefined));
    await clock.advance(4_000);
    expect(await thrownBy(once(() => "never")(undefined))).toMatchObject({ code: "IN_PROGRESS" });
    gate.resolve("done");
    await clock.advance(0);
    expect(running.value).toBe("done");
  });

  it("is undone when its caller has left meanwhile", async () => {
    const { once, clock, record } = setUp({ faults: [{ on: "executions.claim", fault: { delayMs: 1_000 } }] });
    const leaving = new AbortController();
    let runs = 0;
    const call = thrownBy(once(() => ++runs)(undefined, { signal: leaving.signal }));
    await clock.advance(10);
    leaving.abort(new Error("gone"));
    expect(await call).toMatchObject({ message: "gone" });
    await clock.advance(10_000);
    expect(runs).toBe(0);
    expect(await record()).toBeUndefined();
  });
});

describe("a release whose answer is lost", () => {
  it("has happened: its caller gets its own error, whoever has the key by then", async () => {
    const { once, rival, clock, types } = setUp({ faults: [{ on: "executions.release", nth: 1, fault: "lostReply" }] });
    const failing = thrownBy(
      once(() => {
        throw new Error("mine");
      })(undefined),
    );
    await clock.advance(1);
    expect(await rival(() => "theirs")(undefined)).toBe("theirs");
    await clock.advance(1_000);
    expect(await failing).toMatchObject({ message: "mine" });
    expect(types()).toContain("released");
  });
});

describe("a stale attempt", () => {
  it("does not adopt the outcome of another payload", async () => {
    const { once, rival, clock } = setUp({ faults: [{ on: "executions.renew", fault: "hangBefore" }] });
    const gate = deferred<string>();
    const stale = watch(once((_amount: number) => gate.promise, { leaseMs: 1_000 })(1));
    await clock.advance(2_000);
    const failing = rival((_amount: number) => Promise.reject(new Error("declined")));
    await thrownBy(failing(1));
    expect(await rival((amount: number) => `for ${amount}`)(999)).toBe("for 999");
    gate.resolve("for 1");
    await clock.advance(20_000);
    expect(stale).toMatchObject({ state: "rejected", error: { code: "LEASE_LOST" } });
  });

  it("that waits for the winner leaves with its caller's reason", async () => {
    const { once, rival, clock } = setUp({ faults: [{ on: "executions.renew", fault: "hangBefore" }] });
    const gates = [deferred<string>(), deferred<string>()];
    const leaving = new AbortController();
    const stale = watch(once(() => gates[0]?.promise, { leaseMs: 1_000 })(undefined, { signal: leaving.signal }));
    await clock.advance(2_000);
    const winner = rival(() => gates[1]?.promise)(undefined);
    gates[0]?.resolve("stale");
    await clock.advance(100);
    leaving.abort(new Error("gone"));
    await clock.advance(0);
    expect(stale).toMatchObject({ state: "rejected", error: { message: "gone" } });
    gates[1]?.resolve("winner");
    await winner;
    await clock.advance(10_000);
  });
});

describe("a step that could not be remembered", () => {
  it("leaves later failures of the function what they are", async () => {
    const { once, clock, record } = setUp({
      faults: [
        { on: "executions.recordStep", nth: 1, fault: "hangBefore" },
        { on: "executions.recordStep", nth: 2, fault: "hangBefore" },
      ],
    });
    const failing = once(async (_input: undefined, ctx) => {
      await ctx.step("audit", () => 1).catch(() => {});
      throw new Error("card declined");
    });
    const first = thrownBy(failing(undefined));
    await clock.advance(10_000);
    expect(await first).toMatchObject({ message: "card declined" });
    expect(await record()).toBeUndefined();
  });

  it("leaves the record with its steps when its own error is what ends the attempt, wrapped or not", async () => {
    const faults = [1, 2].map((nth) => ({ on: "executions.recordStep" as const, nth, fault: "hangBefore" as const }));
    const { once, clock, record } = setUp({ faults });
    const failing = once(async (_input: undefined, ctx) => {
      try {
        await ctx.step("audit", () => 1);
      } catch (cause) {
        throw new Error("the audit failed", { cause });
      }
    });
    const first = thrownBy(failing(undefined));
    await clock.advance(10_000);
    expect(await first).toMatchObject({ message: "the audit failed" });
    expect(await record()).toMatchObject({ status: "abandoned", attempt: 1 });
  });
});

describe("a renewal that hangs", () => {
  it("leaves no timer once the function has ended", async () => {
    const { once, clock } = setUp({ faults: [{ on: "executions.renew", fault: "hangBefore" }] });
    const gate = deferred<string>();
    const running = watch(once(() => gate.promise)(undefined));
    await clock.advance(11_000);
    gate.resolve("done");
    await clock.advance(0);
    expect(running.value).toBe("done");
    expect(clock.pendingTimers).toBe(0);
  });
});
