import { describe, expect, it } from "vitest";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

describe("a caller's signal", () => {
  it("that is already aborted ends the call with its reason, without a store call", async () => {
    const { once, log } = setUp();
    const reason = new Error("gone");
    let runs = 0;
    expect(await thrownBy(once(() => ++runs)(undefined, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect([runs, log.total]).toEqual([0, 0]);
  });

  it("aborts ctx.signal of the execution that the call owns, and the function decides", async () => {
    const { once, clock, rival } = setUp();
    const controller = new AbortController();
    const gate = deferred<string>();
    let seen: unknown;
    const called = watch(
      once((_input: undefined, ctx) => {
        ctx.signal.addEventListener("abort", () => {
          seen = ctx.signal.reason;
        });
        return gate.promise;
      })(undefined, { signal: controller.signal }),
    );
    await clock.advance(0);
    const reason = new Error("the client hung up");
    controller.abort(reason);
    await clock.advance(0);
    expect(seen).toBe(reason);
    expect(called.state).toBe("pending");
    gate.resolve("finished all the same");
    await clock.advance(0);
    expect(called.value).toBe("finished all the same");
    expect(await rival(() => "again")(undefined)).toBe("finished all the same");
  });

  it("frees the key when the function follows it", async () => {
    const { once, clock, record } = setUp();
    const controller = new AbortController();
    const charge = once((_input: undefined, ctx) => clock.sleep(10_000, ctx.signal));
    const called = watch(charge(undefined, { signal: controller.signal }));
    await clock.advance(0);
    const reason = new Error("the client hung up");
    controller.abort(reason);
    await clock.advance(0);
    expect(called.error).toBe(reason);
    expect(await record()).toBeUndefined();
  });

  it("that aborts while the claim is under way gives the claim back, and nothing runs", async () => {
    const { once, rival, clock } = setUp({
      faults: [{ on: "executions.claim", nth: 1, fault: { delayMs: 100, of: "reply" } }],
    });
    const controller = new AbortController();
    let runs = 0;
    const called = watch(once(() => ++runs)(undefined, { signal: controller.signal }));
    await clock.advance(50);
    controller.abort(new Error("gone"));
    await clock.advance(50);
    expect(called.error).toMatchObject({ message: "gone" });
    expect(runs).toBe(0);
    expect(await rival(() => "free")(undefined)).toBe("free");
  });

  it("has no listener left after the call, whatever came of it", async () => {
    const { once, clock } = setUp();
    const controller = new AbortController();
    const { signal } = controller;
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    let fail = true;
    const charge = once(
      async () => {
        await clock.sleep(100);
        if (fail) throw new Error("declined");
        return "done";
      },
      { inFlight: "wait" },
    );
    const first = watch(charge(undefined, { signal }));
    await clock.advance(100);
    fail = false;
    const others = [watch(charge(undefined, { signal })), watch(charge(undefined, { signal }))];
    await clock.advance(1_000);
    const replay = await charge(undefined, { signal });
    expect([first.state, ...others.map(({ value }) => value), replay]).toEqual(["rejected", "done", "done", "done"]);
    expect(listeners).toBe(0);
  });
});
