import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintOf } from "../../src/idempotency/fingerprint.ts";
import { setUp, thrownBy } from "./set-up.ts";

describe("the canonical form of an input", () => {
  it("is blind to the order of keys, map entries and set members", () => {
    expect(fingerprintOf({ a: 1, b: { c: 2, d: 3 } })).toBe(fingerprintOf({ b: { d: 3, c: 2 }, a: 1 }));
    const entries: [unknown, number][] = [
      ["x", 1],
      [{ k: 1 }, 2],
    ];
    expect(fingerprintOf(new Map(entries))).toBe(fingerprintOf(new Map([...entries].reverse())));
    expect(fingerprintOf(new Set([1, "1", [1]]))).toBe(fingerprintOf(new Set([[1], "1", 1])));
  });

  it("takes a key that is undefined as one that is not there, and keeps it in an array", () => {
    expect(fingerprintOf({ a: undefined })).toBe(fingerprintOf({}));
    expect(fingerprintOf([undefined])).not.toBe(fingerprintOf([]));
    expect(fingerprintOf([1, 2])).not.toBe(fingerprintOf([2, 1]));
  });

  it("tells values of different types and odd numbers apart", () => {
    const values: unknown[] = [
      undefined,
      null,
      false,
      true,
      0,
      -0,
      1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      0n,
      1n,
      -1n,
      "",
      "0",
      "1",
      "null",
      "NaN",
      "1n",
      [],
      {},
      [0],
      ["0"],
      [[]],
      [{}],
      new Date(0),
      new Date(1),
      new Date(Number.NaN),
      new Map(),
      new Set(),
      new Map([[0, 1]]),
      new Set([0]),
      new Set([[0, 1]]),
      new Uint8Array(0),
      new Uint8Array([0]),
      { a: 1 },
      { a: "1" },
      { "a;n1": 1 },
      { a: { b: 1 } },
      { "a.b": 1 },
      ["a", "b"],
      ["ab"],
      ["a,b"],
      "\ud800",
      "\udbff",
      "\ufffd",
      "9007199254740993",
      9_007_199_254_740_992,
      9_007_199_254_740_993n,
      9_007_199_254_740_992n,
    ];
    const prints = values.map((value) => fingerprintOf(value));
    expect(new Set(prints).size).toBe(values.length);
    for (const print of prints) expect(print).toMatch(/^[0-9a-f]{64}$/);
  });

  it("is that of the bytes, whatever the view, and of what toJSON gives", () => {
    const bytes = new Uint8Array([1, 2, 3]);
    expect(fingerprintOf(Buffer.from(bytes))).toBe(fingerprintOf(bytes));
    expect(fingerprintOf(bytes.buffer)).toBe(fingerprintOf(bytes));
    expect(fingerprintOf(new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4))).toBe(fingerprintOf(bytes));
    class Money {
      toJSON() {
        return { amount: 5 };
      }
    }
    expect(fingerprintOf(new Money())).toBe(fingerprintOf({ amount: 5 }));
    expect(fingerprintOf(Object.assign(Object.create(null), { a: 1 }))).toBe(fingerprintOf({ a: 1 }));
  });

  it("does not take a shared value for a cycle", () => {
    const shared = { x: 1 };
    expect(fingerprintOf([shared, shared])).toBe(fingerprintOf([{ x: 1 }, { x: 1 }]));
  });

  it("holds for every value that JSON can say, in any order of keys", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(fingerprintOf(reversed(value))).toBe(fingerprintOf(value));
      }),
      { seed: 1 },
    );
  });

  it("differs where JSON differs", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        fc.pre(JSON.stringify(sorted(a)) !== JSON.stringify(sorted(b)) && !hasMinusZero(a) && !hasMinusZero(b));
        expect(fingerprintOf(a)).not.toBe(fingerprintOf(b));
      }),
      { seed: 1 },
    );
  });
});

describe("an input without a canonical form", () => {
  class Plain {
    x = 1;
  }
  const cycle: unknown[] = [];
  cycle.push(cycle);
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level += 1) deep = [deep];
  const bad: [string, unknown][] = [
    ["a function", () => {}],
    ["a symbol", Symbol("s")],
    ["a nested function", { a: [() => {}] }],
    ["a cycle", cycle],
    ["a class instance", new Plain()],
    ["a symbol key", { [Symbol("s")]: 1 }],
    ["a depth of 100,000", deep],
    ["a promise", Promise.resolve(1)],
    [
      "a getter that throws",
      {
        get a() {
          throw new Error("no");
        },
      },
    ],
  ];

  it.each(bad)("%s is INVALID_FINGERPRINT before any store call", async (_what, input) => {
    const { once, log } = setUp();
    let runs = 0;
    const error = await thrownBy(once((_input: unknown) => ++runs)(input));
    expect(error).toMatchObject({ code: "INVALID_FINGERPRINT", retryable: false });
    expect([runs, log.total]).toEqual([0, 0]);
  });

  it("can be told what of it counts", async () => {
    const { once } = setUp();
    const charge = once((input: { amount: number; reply: () => void }) => input.amount, {
      fingerprint: ({ amount }) => ({ amount }),
    });
    expect(await charge({ amount: 5, reply: () => {} })).toBe(5);
    expect(await charge({ amount: 5, reply: () => {} })).toBe(5);
    await expect(charge({ amount: 6, reply: () => {} })).rejects.toMatchObject({ code: "FINGERPRINT_MISMATCH" });
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversed(item)]),
  );
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const keys = Object.keys(value).sort();
  return keys.map((key) => [key, sorted((value as Record<string, unknown>)[key])]);
}

function hasMinusZero(value: unknown): boolean {
  if (Object.is(value, -0)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(hasMinusZero);
}
