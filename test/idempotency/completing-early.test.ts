import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("ctx.complete", () => {
  it.each([undefined, null])("refuses a transaction that is %s, instead of completing outside of it", async (tx) => {
    const { once } = setUp();
    const charge = once<undefined, string>(async (_input, ctx) => {
      expect(() => ctx.complete("charged", tx)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
      throw new Error("the transaction was lost");
    });
    await expect(charge(undefined, { key: "k" })).rejects.toThrow("the transaction was lost");
    await expect(charge.run(undefined, { key: "k" })).rejects.toThrow("the transaction was lost");
  });

  it("makes the outcome durable at once: what throws afterwards reaches this caller, retries get the value", async () => {
    const { once, rival } = setUp();
    const own = new Error("after the completion");
    let runs = 0;
    const charge = once<undefined, string>(async (_input, ctx) => {
      runs += 1;
      await ctx.complete("charged");
      throw own;
    });
    expect(await thrownBy(charge(undefined))).toBe(own);
    expect(await charge(undefined)).toBe("charged");
    expect(await rival(() => "again")(undefined)).toBe("charged");
    expect(runs).toBe(1);
  });

  it("is what every caller gets, the first one included, whatever is returned afterwards", async () => {
    const { once, eventsOf } = setUp();
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("a");
      return "b";
    });
    expect(await charge.run(undefined)).toMatchObject({ value: "a", replayed: false });
    expect(await charge(undefined)).toBe("a");
    expect(eventsOf("outcome_ignored")).toHaveLength(1);
    expect(eventsOf("completed")).toHaveLength(1);
  });

  it("is no surprise when the same value is returned", async () => {
    const { once, log, types } = setUp();
    const charge = once<undefined, object>(async (_input, ctx) => {
      await ctx.complete({ charged: 5 });
      return { charged: 5 };
    });
    expect(await charge(undefined)).toEqual({ charged: 5 });
    expect(types()).toEqual(["claimed", "completed"]);
    expect(log.count("executions.complete")).toBe(1);
  });

  it("counts once: the second outcome is ignored, and told when it differs", async () => {
    const { once, eventsOf } = setUp();
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("a");
      await ctx.complete("a");
      await ctx.complete("b");
      return "a";
    });
    expect(await charge(undefined)).toBe("a");
    expect(eventsOf("outcome_ignored")).toHaveLength(1);
  });

  it("lets duplicates have the outcome while the function goes on", async () => {
    const { once, rival, clock } = setUp();
    const gate = deferred();
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("charged");
      await gate.promise;
      return "charged";
    });
    const first = watch(charge(undefined));
    await clock.advance(0);
    expect(await rival(() => "again")(undefined)).toBe("charged");
    await clock.advance(1_000_000);
    gate.resolve();
    await clock.advance(0);
    expect(first.value).toBe("charged");
  });

  it("ends the renewal: there is nothing left to hold", async () => {
    const { once, clock, log } = setUp();
    const gate = deferred();
    const first = once<undefined, number>(async (_input, ctx) => {
      await ctx.complete(1);
      await gate.promise;
      return 1;
    })(undefined);
    await clock.advance(120_000);
    expect(log.count("executions.renew")).toBe(0);
    gate.resolve();
    await first;
  });

  it("is got over a lost reply", async () => {
    const { once, clock } = setUp({ faults: [{ on: "executions.complete", nth: 1, fault: "lostReply" }] });
    const called = watch(
      once<undefined, string>(async (_input, ctx) => {
        await ctx.complete("charged");
        return "charged";
      })(undefined),
    );
    await clock.advance(5_000);
    expect(called.value).toBe("charged");
  });

  it("is INVALID_OPTIONS with a transaction on a store that has none", async () => {
    const { once } = setUp();
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("a", {});
      return "a";
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "INVALID_OPTIONS" });
  });

  it("can't be used once the execution is over", async () => {
    const { once } = setUp();
    let late: ((value: string) => Promise<void>) | undefined;
    await once<undefined, string>((_input, ctx) => {
      late = (value) => ctx.complete(value);
      return "a";
    })(undefined);
    expect(await thrownBy(Promise.resolve().then(() => late?.("b")))).toMatchObject({ code: "LEASE_LOST" });
  });
});

describe("a completion in the user's transaction", () => {
  /** A store whose transactions are lists of what is to be done at the commit. */
  function transactional(answersLater = false) {
    const world = setUp({}, (inner) => ({
      completeInTransaction(request, tx) {
        (tx as (() => Promise<unknown>)[]).push(() => inner.complete(request, { timeoutMs: 1_000 }));
        const { outcome } = request;
        const answer = { status: "committed", outcome, attempt: 1, completedAt: 0, expiresInMs: 1 } as const;
        return answersLater ? Promise.resolve(answer) : answer;
      },
    }));
    const commit = async (tx: (() => Promise<unknown>)[]) => {
      for (const work of tx) await work();
    };
    return { ...world, commit };
  }

  it.each([false, true])("counts once the transaction commits (answers later: %s)", async (answersLater) => {
    const { once, rival, commit } = transactional(answersLater);
    const own = new Error("after the commit");
    const charge = once<undefined, string>(async (_input, ctx) => {
      const tx: (() => Promise<unknown>)[] = [];
      await ctx.complete("charged", tx);
      await commit(tx);
      throw own;
    });
    expect(await thrownBy(charge(undefined))).toBe(own);
    expect(await rival(() => "again")(undefined)).toBe("charged");
  });

  it("is what the first caller gets too", async () => {
    const { once, commit, eventsOf } = transactional();
    const charge = once<undefined, string>(async (_input, ctx) => {
      const tx: (() => Promise<unknown>)[] = [];
      await ctx.complete("a", tx);
      await commit(tx);
      return "b";
    });
    expect(await charge(undefined)).toBe("a");
    expect(await charge(undefined)).toBe("a");
    expect(eventsOf("outcome_ignored")).toHaveLength(1);
  });

  it("leaves the record to the function's own outcome when the transaction rolls back", async () => {
    const { once, rival } = transactional();
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("rolled back", []);
      return "the function's own";
    });
    expect(await charge(undefined)).toBe("the function's own");
    expect(await rival(() => "again")(undefined)).toBe("the function's own");
  });

  it("frees the key when the transaction rolls back and the function throws", async () => {
    const { once, record } = transactional();
    const own = new Error("rolled back");
    const charge = once<undefined, string>(async (_input, ctx) => {
      await ctx.complete("rolled back", []);
      throw own;
    });
    expect(await thrownBy(charge(undefined))).toBe(own);
    expect(await record()).toBeUndefined();
  });

  it("throws at once for a stale attempt, where the driver answers at once", async () => {
    const { once } = setUp({}, () => ({ completeInTransaction: () => ({ status: "lost" }) }));
    let committed = false;
    const charge = once<undefined, string>((_input, ctx) => {
      void ctx.complete("stale", {});
      committed = true;
      return "stale";
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "LEASE_LOST" });
    expect(committed).toBe(false);
  });
});

describe("a call for the same record inside its own execution", () => {
  it.each(["reject", "wait"] as const)("is NESTED_EXECUTION (%s), without a store call", async (inFlight) => {
    const { once, log, clock } = setUp();
    let calls = 0;
    const charge = once(
      async (_input: undefined): Promise<unknown> => {
        await clock.sleep(0);
        const before = log.total;
        const error = await thrownBy(charge(undefined));
        calls = log.total - before;
        return (error as { code: string }).code;
      },
      { inFlight },
    );
    const called = watch(charge(undefined));
    await clock.advance(1);
    expect(called.value).toBe("NESTED_EXECUTION");
    expect(calls).toBe(0);
  });

  it("is recognised through another wrapped function and another payload", async () => {
    const { once, clock } = setUp();
    const inner = once((_input: number) => "inner");
    const between = once(() => inner(2), { operation: "between" });
    const outer = once((_input: number) => between(undefined).catch((error: { code: string }) => error.code));
    const called = watch(outer(1));
    await clock.advance(0);
    expect(called.value).toBe("NESTED_EXECUTION");
  });

  it("runs for another key, another operation and another scope", async () => {
    const { once } = setUp();
    const inner = once(() => "inner");
    const outer = once(() =>
      Promise.all([
        inner(undefined, { key: "other" }),
        inner(undefined, { scope: "other" }),
        once(() => "refunded", { operation: "refund" })(undefined),
      ]),
    );
    expect(await outer(undefined)).toEqual(["inner", "inner", "refunded"]);
  });

  it("is no longer nested once the outer execution is over", async () => {
    const { once, clock } = setUp();
    let later: Promise<unknown> | undefined;
    const charge = once((): string => {
      later = clock.sleep(100).then(() => charge(undefined));
      return "outer";
    });
    await charge(undefined);
    await clock.advance(100);
    expect(await later).toBe("outer");
  });
});
