import type { Fault } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { taggedJson } from "../../src/codec.ts";
import { outcomeCodec } from "../../src/idempotency/outcome.ts";
import type { ExecutionView } from "../../src/store.ts";
import { CALL, deferred, setUp, thrownBy, watch } from "./set-up.ts";

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
  /** A call that fails, and what comes of it when the first answer to its release is lost and `meanwhile` happens. */
  async function failing(fault: Fault, meanwhile: (world: ReturnType<typeof setUp>) => unknown) {
    const world = setUp({ faults: [{ on: "executions.release", nth: 1, fault }] });
    const mine = new Error("mine");
    const called = watch(world.once<string, string>(() => Promise.reject(mine))("for 1"));
    await world.clock.advance(1);
    await meanwhile(world);
    await world.clock.advance(1_000);
    return { ...world, called, mine };
  }

  it("has happened: its caller gets its own error, also while another call has the key", async () => {
    const theirs = deferred<string>();
    const { called, mine, types } = await failing("lostReply", ({ rival }) => {
      void rival(() => theirs.promise)("for 1");
    });
    expect(called.error).toBe(mine);
    expect(types()).toContain("released");
    theirs.resolve("theirs");
  });

  it("and whose key went on to another payload has happened", async () => {
    const { called, mine, types } = await failing("lostReply", ({ rival }) => rival(() => "theirs")("for 2"));
    expect(called.error).toBe(mine);
    expect(types()).toContain("released");
  });

  it("gives way to the outcome that another call with its payload got", async () => {
    const { called, types, eventsOf, mine } = await failing("lostReply", ({ rival }) => rival(() => "theirs")("for 1"));
    expect(called.value).toBe("theirs");
    expect(types()).not.toContain("released");
    expect(eventsOf("lease_lost")).toMatchObject([{ reason: "finalized", error: mine }]);
  });

  it("did not happen where an operator has seized the record: its caller gets the operator's outcome, as all others do", async () => {
    const { called, once, types } = await failing("lostRequest", async ({ inner, record }) => {
      const { id, token } = (await record()) as ExecutionView;
      const operator = { id, nonce: "operator", retentionMs: 60_000 };
      const seized = await inner.executions.seize({ ...operator, token, leaseMs: 30_000 }, CALL);
      if (seized.status !== "seized") throw new Error(seized.status);
      const { outcome } = outcomeCodec(taggedJson, 1_024).encodeValue(id, "by hand");
      await inner.executions.complete({ ...operator, token: seized.token, outcome }, CALL);
    });
    expect(called.value).toBe("by hand");
    expect(types()).not.toContain("released");
    expect(await once((_input: string) => "never")("for 1")).toBe("by hand");
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
