import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("ctx.step", () => {
  it("runs each step once over a takeover: finished ones return their outcome, the rest runs", async () => {
    const { once, crash } = setUp();
    const ran: string[] = [];
    const step = (name: string) => () => {
      ran.push(name);
      return `${name} by nobody else`;
    };
    await crash(async (ctx) => {
      await ctx.step("reserve", step("reserve"));
      await ctx.step("charge", step("charge"));
    });
    const charge = once(async (_input: undefined, ctx) => [
      await ctx.step("reserve", step("reserve")),
      await ctx.step("charge", step("charge")),
      await ctx.step("mail", step("mail")),
    ]);
    expect(await charge(undefined)).toEqual(["reserve by nobody else", "charge by nobody else", "mail by nobody else"]);
    expect(ran).toEqual(["reserve", "charge", "mail"]);
  });

  it("gives the run that made it and the one after it deep-equal values", async () => {
    const { once, crash } = setUp();
    const value = { at: new Date(5), bytes: Buffer.from("x"), nothing: undefined, big: 10n };
    let first: unknown;
    await crash(async (ctx) => {
      first = await ctx.step("reserve", () => value);
    });
    const second = await once((_input: undefined, ctx) => ctx.step("reserve", () => value))(undefined);
    expect(second).toEqual(first);
    expect(Object.getPrototypeOf((first as typeof value).bytes)).toBe(Uint8Array.prototype);
  });

  it("works taken out of its context, as deriveKey and complete do", async () => {
    const { once } = setUp();
    const charge = once(async (_input: undefined, { step, deriveKey, complete }) => {
      await complete(await step("charge", () => deriveKey("bank").length));
      return "not this";
    });
    expect(await charge(undefined)).toBe(64);
  });

  it("runs a step again that threw, since it is not finished", async () => {
    const { once, crash } = setUp();
    let tries = 0;
    const flaky = () => {
      tries += 1;
      if (tries === 1) throw new Error("bank is down");
      return "charged";
    };
    await crash(async (ctx) => {
      await ctx.step("charge", flaky).catch(() => {});
    });
    expect(await once((_input: undefined, ctx) => ctx.step("charge", flaky))(undefined)).toBe("charged");
    expect(tries).toBe(2);
  });

  it("passes a step's own error on, by identity", async () => {
    const { once } = setUp();
    const own = new Error("bank is down");
    const charge = once((_input: undefined, ctx) => ctx.step("charge", () => Promise.reject(own)));
    expect(await thrownBy(charge(undefined))).toBe(own);
  });

  it("takes steps beside each other, compared as the sequence in which they were started", async () => {
    const { once, crash } = setUp();
    const ran: string[] = [];
    await crash(async (ctx) => {
      const gate = deferred();
      const a = ctx.step("a", async () => {
        await gate.promise;
        ran.push("a");
        return "a1";
      });
      await ctx.step("b", () => {
        ran.push("b");
        return "b1";
      });
      gate.resolve();
      await a;
    });
    const charge = once((_input: undefined, ctx) =>
      Promise.all([ctx.step("a", () => "a2"), ctx.step("b", () => "b2"), ctx.step("c", () => "c2")]),
    );
    expect(await charge(undefined)).toEqual(["a1", "b1", "c2"]);
    expect(ran).toEqual(["b", "a"]);
  });

  it("remembers the one of two parallel steps that finished before the crash", async () => {
    const { once, crash } = setUp();
    await crash(async (ctx) => {
      void ctx.step("a", () => new Promise(() => {}));
      await ctx.step("b", () => "b1");
    });
    const charge = once((_input: undefined, ctx) =>
      Promise.all([ctx.step("a", () => "a2"), ctx.step("b", () => "b2")]),
    );
    expect(await charge(undefined)).toEqual(["a2", "b1"]);
  });

  it("costs a store call a step", async () => {
    const { once, log } = setUp();
    const charge = once(async (_input: undefined, ctx) => {
      await ctx.step("reserve", () => 1);
      await ctx.step("charge", () => 2);
    });
    await charge(undefined);
    expect(log.operations).toEqual([
      "executions.claim",
      "executions.recordStep",
      "executions.recordStep",
      "executions.complete",
    ]);
  });

  it("remembers nothing over an ordinary release", async () => {
    const { once } = setUp();
    let reserved = 0;
    let fail = true;
    const charge = once(async (_input: undefined, ctx) => {
      await ctx.step("reserve", () => void reserved++);
      if (fail) throw new Error("declined");
    });
    await thrownBy(charge(undefined));
    fail = false;
    await charge(undefined);
    expect(reserved).toBe(2);
  });

  it("can't be used once the execution is over", async () => {
    const { once, log } = setUp();
    let step: (() => Promise<unknown>) | undefined;
    await once((_input: undefined, ctx) => {
      step = () => ctx.step("late", () => 1);
    })(undefined);
    log.clear();
    expect(await thrownBy((step as () => Promise<unknown>)())).toMatchObject({ code: "LEASE_LOST" });
    expect(log.total).toBe(0);
  });

  it("is RESULT_NOT_REPLAYABLE for a step that has run but could not be stored, and does not run it again", async () => {
    const { once, crash } = setUp();
    let runs = 0;
    const unstorable = () => {
      runs += 1;
      return () => "a function";
    };
    await crash(async (ctx) => void (await ctx.step("open", unstorable)));
    const charge = once(async (_input: undefined, ctx) => void (await ctx.step("open", unstorable)));
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
    expect(runs).toBe(1);
  });
});

describe("steps that are asked otherwise than last time", () => {
  it.each<[string, string[]]>([
    ["under another name", ["charge", "mail"]],
    ["in another order", ["mail", "reserve"]],
    ["with one left out", ["mail"]],
    ["with a new one in front", ["audit", "reserve", "mail"]],
  ])("are STEP_MISMATCH %s, before anything runs", async (_what, names) => {
    const { once, crash } = setUp();
    await crash(async (ctx) => {
      await ctx.step("reserve", () => 1);
      await ctx.step("mail", () => 2);
    });
    let ran = 0;
    const charge = once(async (_input: undefined, ctx) => {
      for (const name of names) await ctx.step(name, () => void ran++);
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "STEP_MISMATCH" });
    expect(ran).toBe(0);
  });

  it("run nothing any more after the mismatch, also when the function goes on", async () => {
    const { once, crash } = setUp();
    await crash((ctx) => ctx.step("reserve", () => {}));
    let ran = 0;
    const charge = once(async (_input: undefined, ctx) => {
      await ctx.step("other", () => void ran++).catch(() => {});
      await ctx.step("reserve", () => void ran++);
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "STEP_MISMATCH" });
    expect(ran).toBe(0);
  });

  it("lose nothing of what is remembered: a version that asks rightly goes on from there", async () => {
    const { once, crash } = setUp();
    let reserved = 0;
    await crash((ctx) => ctx.step("reserve", () => void reserved++));
    const wrong = once((_input: undefined, ctx) => ctx.step("renamed", () => {}));
    for (let time = 0; time < 3; time += 1) {
      expect(await thrownBy(wrong(undefined))).toMatchObject({ code: "STEP_MISMATCH" });
    }
    const right = once(async (_input: undefined, ctx) => {
      await ctx.step("reserve", () => void reserved++);
      return "done";
    });
    expect(await right(undefined)).toBe("done");
    expect(reserved).toBe(1);
  });

  it("are STEP_MISMATCH for a name that is used twice in one run, and for none", async () => {
    for (const names of [["a", "a"], [""], [undefined as unknown as string]]) {
      const { once } = setUp();
      const ran: string[] = [];
      const charge = once(async (_input: undefined, ctx) => {
        for (const name of names) await ctx.step(name, () => void ran.push(name));
      });
      expect(await thrownBy(charge(undefined))).toMatchObject({ code: "STEP_MISMATCH" });
      expect(ran).toEqual(names.slice(0, -1));
    }
  });
});

describe("a step that can't be recorded", () => {
  it("fails the attempt, which leaves its record to the next one with what it has", async () => {
    let down = false;
    const { once, clock } = setUp({
      decide: ({ operation }) => (down && operation === "executions.recordStep" ? "lostRequest" : undefined),
    });
    let reserved = 0;
    const charge = once(async (_input: undefined, ctx) => {
      await ctx.step("reserve", () => void reserved++);
      down = ctx.attempt === 1;
      await ctx.step("charge", () => {});
      return ctx.attempt;
    });
    const first = watch(charge(undefined));
    await clock.advance(30_000);
    expect(first).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE" } });
    down = false;
    expect(await charge(undefined)).toBe(2);
    expect(reserved).toBe(1);
  });
});
