import { describe, expect, it } from "vitest";
import { setUp, thrownBy, watch } from "./set-up.ts";

describe("the local cache", () => {
  it("answers a replay without a store call", async () => {
    const { once, log, eventsOf } = setUp();
    const charge = once(() => ({ charged: 5 }), { cache: { maxEntries: 10 } });
    await charge(undefined);
    log.clear();
    expect(await charge.run(undefined)).toMatchObject({ value: { charged: 5 }, replayed: true, attempt: 1 });
    expect(log.total).toBe(0);
    expect(eventsOf("replayed")).toMatchObject([{ from: "cache" }]);
  });

  it("learns from what the store replays, too", async () => {
    const { once, rival, log } = setUp();
    await rival(() => "the other's")(undefined);
    const charge = once(() => "never", { cache: { maxEntries: 10 } });
    await charge(undefined);
    log.clear();
    expect(await charge(undefined)).toBe("the other's");
    expect(log.total).toBe(0);
  });

  it("checks the fingerprint", async () => {
    const { once } = setUp();
    const charge = once((input: number) => input, { cache: { maxEntries: 10 } });
    await charge(5);
    expect(await thrownBy(charge(6))).toMatchObject({ code: "FINGERPRINT_MISMATCH" });
  });

  it("checks the expiry, to the millisecond, and the wall clock's as well", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(() => ++runs, { cache: { maxEntries: 10 }, retentionMs: 10_000 });
    await charge(undefined);
    await clock.advance(9_999);
    expect(await charge(undefined)).toBe(1);
    await clock.advance(1);
    expect(await charge(undefined)).toBe(2);
    await clock.set(clock.now() + 10_000);
    expect(await charge(undefined)).toBe(3);
  });

  it("counts the expiry of what the store replays from when the store was asked", async () => {
    const { once, rival, clock } = setUp({
      faults: [{ on: "executions.claim", nth: 1, fault: { delayMs: 2_000, of: "reply" } }],
    });
    await rival(() => "old", { retentionMs: 5_000 })(undefined);
    const charge = once(() => "new", { cache: { maxEntries: 10 } });
    const first = watch(charge(undefined));
    await clock.advance(2_000);
    expect(first.value).toBe("old");
    await clock.advance(2_999);
    expect(await charge(undefined)).toBe("old");
    await clock.advance(1);
    expect(await charge(undefined)).toBe("new");
  });

  it("holds nothing that is not completed", async () => {
    const { once } = setUp();
    let runs = 0;
    const charge = once(
      () => {
        runs += 1;
        throw new Error("declined");
      },
      { cache: { maxEntries: 10 } },
    );
    await thrownBy(charge(undefined));
    await thrownBy(charge(undefined));
    expect(runs).toBe(2);
  });

  it("is bounded, and keeps what was used last", async () => {
    const { once, log } = setUp();
    const charge = once(() => 1, { cache: { maxEntries: 2 } });
    for (const key of ["a", "b"]) await charge(undefined, { key });
    await charge(undefined, { key: "a" });
    await charge(undefined, { key: "c" });
    log.clear();
    await charge(undefined, { key: "a" });
    await charge(undefined, { key: "c" });
    expect(log.total).toBe(0);
    await charge(undefined, { key: "b" });
    expect(log.total).toBe(1);
  });

  it("replays stored errors and tombstones as the store does", async () => {
    const { once, log } = setUp();
    const charge = once<string, unknown>(
      (input) => {
        if (input === "throw") throw new RangeError("declined");
        return () => "a function";
      },
      { key: (input) => input, onError: "store", cache: { maxEntries: 10 } },
    );
    await thrownBy(charge("throw"));
    await charge("bury");
    log.clear();
    expect(await thrownBy(charge("throw"))).toMatchObject({ name: "RangeError", message: "declined" });
    expect(await thrownBy(charge("bury"))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
    expect(log.total).toBe(0);
  });
});
