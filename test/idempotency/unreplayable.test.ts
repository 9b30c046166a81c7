import type { Codec } from "evenkeel";
import { describe, expect, it } from "vitest";
import { CALL, setUp, thrownBy } from "./set-up.ts";

describe("a value that can't be stored", () => {
  class Service {
    open = true;
  }
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  let tooDeep: unknown = 1;
  for (let level = 0; level < 100_000; level += 1) tooDeep = [tooDeep];
  const values: [string, unknown, "not_encodable" | "too_large"][] = [
    ["a function", () => 1, "not_encodable"],
    ["a symbol", Symbol("s"), "not_encodable"],
    ["a nested function", { a: [() => 1] }, "not_encodable"],
    ["a cycle", cycle, "not_encodable"],
    ["a class instance", new Service(), "not_encodable"],
    ["a depth of 100,000", tooDeep, "not_encodable"],
    ["a text over maxResultBytes", "x".repeat(2_000), "too_large"],
  ];

  it.each(values)(
    "%s reaches this caller, a retry is told so, and nothing runs again",
    async (_what, value, reason) => {
      const { once, rival, eventsOf } = setUp();
      let runs = 0;
      const charge = once<undefined, unknown>(
        () => {
          runs += 1;
          return value;
        },
        { maxResultBytes: 1_000 },
      );
      const first = await charge.run(undefined);
      expect(first.value).toBe(value);
      expect(first.replayed).toBe(false);
      for (let time = 0; time < 2; time += 1) {
        expect(await thrownBy(charge(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE", retryable: false });
      }
      expect(await thrownBy(rival(() => "again")(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
      expect(eventsOf("tombstoned")).toMatchObject([{ reason }]);
      expect(runs).toBe(1);
    },
  );

  it("is one byte over maxResultBytes and not one at it", async () => {
    const { once } = setUp();
    const bytes = (length: number): Codec => ({ encode: () => new Uint8Array(length), decode: () => "fits" });
    const fits = once<undefined, string>(() => "fits", { codec: bytes(100), maxResultBytes: 100 });
    await fits(undefined);
    expect(await fits(undefined)).toBe("fits");
    const over = once<undefined, string>(() => "over", { codec: bytes(101), maxResultBytes: 100, operation: "over" });
    expect(await over(undefined)).toBe("over");
    expect(await thrownBy(over(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
  });

  it("is what a codec throws for, or doesn't encode to bytes, or can't read back", async () => {
    const refuse = (): never => {
      throw new Error("codec");
    };
    const codecs: Codec[] = [
      { encode: refuse, decode: () => 1 },
      { encode: () => "text" as never, decode: () => 1 },
      { encode: () => new Uint8Array(1), decode: refuse },
    ];
    for (const codec of codecs) {
      const { once } = setUp();
      const charge = once<undefined, string>(() => "done", { codec });
      expect(await charge(undefined)).toBe("done");
      expect(await thrownBy(charge(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
    }
  });
});

describe("a stored outcome that is not what was stored", () => {
  /** Lets the store answer with other bytes than it was given. */
  function tampered(change: (bytes: Uint8Array) => Uint8Array) {
    return setUp({}, (inner) => ({
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        if (answer.status !== "completed") return answer;
        return { ...answer, outcome: { ...answer.outcome, bytes: change(answer.outcome.bytes) } };
      },
    }));
  }

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["truncated", (bytes) => bytes.slice(0, -1)],
    ["empty", () => new Uint8Array(0)],
    ["changed in one bit", (bytes) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte))],
    ["of version 99", (bytes) => bytes.map((byte, at) => (at === 0 ? 99 : byte))],
    ["longer", (bytes) => Uint8Array.from([...bytes, 0])],
  ])("is RECORD_CORRUPT when it is %s: nothing runs, and the record stays", async (_what, change) => {
    const { once, record } = tampered(change);
    let runs = 0;
    const charge = once(() => ++runs);
    await charge(undefined);
    const before = await record();
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "RECORD_CORRUPT", retryable: false });
    expect(runs).toBe(1);
    expect(await record()).toEqual(before);
  });

  it("is RECORD_CORRUPT when it belongs to another record", async () => {
    const { once, inner } = setUp();
    const charge = once(() => "a's");
    await charge(undefined, { key: "a" });
    const [a] = await inner.executions.list({ limit: 1 }, CALL);
    const outcome = a?.status === "completed" ? a.outcome : undefined;
    const swapped = setUp({}, (store) => ({
      async claim(request, call) {
        const answer = await store.claim(request, call);
        return answer.status === "completed" && outcome !== undefined ? { ...answer, outcome } : answer;
      },
    }));
    const other = swapped.once(() => "b's");
    await other(undefined, { key: "b" });
    expect(await thrownBy(other(undefined, { key: "b" }))).toMatchObject({ code: "RECORD_CORRUPT" });
  });
});
