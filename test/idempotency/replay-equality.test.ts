import type { Codec } from "evenkeel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { taggedJson } from "../../src/codec.ts";
import { setUp } from "./set-up.ts";

let deep: unknown = "bottom";
for (let level = 0; level < 400; level += 1) deep = level % 2 ? [deep] : { deep };

const VALUES: [string, () => unknown][] = [
  ["undefined", () => undefined],
  ["null", () => null],
  ["false", () => false],
  ["true", () => true],
  ["0", () => 0],
  ["-0", () => -0],
  ["NaN", () => Number.NaN],
  ["Infinity", () => Number.POSITIVE_INFINITY],
  ["-Infinity", () => Number.NEGATIVE_INFINITY],
  ["the smallest number", () => Number.MIN_VALUE],
  ["the largest number", () => Number.MAX_VALUE],
  ["10n", () => 10n],
  ["a large negative bigint", () => -(2n ** 200n)],
  ["an empty text", () => ""],
  ["a text of odd characters", () => "\u0000\u2028\u{1F680}\"\\'</script>"],
  ["a lone surrogate", () => "a\ud800b"],
  ["a Date", () => new Date(1_767_225_600_123)],
  ["an invalid Date", () => new Date(Number.NaN)],
  [
    "a Map of odd keys",
    () =>
      new Map<unknown, unknown>([
        [{ a: 1 }, new Map([[undefined, -0]])],
        [Number.NaN, null],
      ]),
  ],
  ["a Set", () => new Set<unknown>([1, "1", [1], undefined])],
  ["an empty Map and an empty Set", () => [new Map(), new Set()]],
  ["bytes", () => Uint8Array.from({ length: 256 }, (_, byte) => byte)],
  ["an ArrayBuffer", () => Uint8Array.from([1, 2, 3]).buffer],
  ["other views", () => [new Int16Array([-1, 2]), new Float64Array([0.1]), new BigInt64Array([-1n])]],
  ["an Error", () => new TypeError("wrong", { cause: new Error("why") })],
  ["nested values", () => ({ a: [{ b: new Map([["c", new Set([new Date(0), 1n])]]) }], d: undefined })],
  ["an empty object and an empty array", () => [{}, [], [[]], { a: {} }]],
  ["an array with holes in it", () => [1, undefined, 3]],
  ["objects that look like our tags", () => [{ $date: 5 }, { $undefined: 0 }, { $object: [] }, { $x: { $map: [] } }]],
  ["an object without a prototype", () => Object.assign(Object.create(null), { a: 1 })],
  ["an object with __proto__ as data", () => JSON.parse('{"__proto__": {"polluted": true}, "a": 1}')],
  ["an object with odd names", () => ({ constructor: 1, toString: 2, "": 3, then: 4, "a.b": 5 })],
  ["a nesting of 400", () => deep],
];

describe("a replay", () => {
  it.each(VALUES)("gives %s back deep-equal to what the first caller got, after one run", async (_what, make) => {
    const { once } = setUp();
    let runs = 0;
    const charge = once<undefined, unknown>(() => {
      runs += 1;
      return make();
    });
    const first = await charge(undefined);
    const second = await charge(undefined);
    expect(first).toStrictEqual(make());
    expect(second).toStrictEqual(first);
    expect(runs).toBe(1);
  });

  it.each(VALUES)("gives waiters %s, too", async (_what, make) => {
    const { once, clock } = setUp();
    const charge = once<undefined, unknown>(
      async () => {
        await clock.sleep(10);
        return make();
      },
      { inFlight: "wait" },
    );
    const calls = Promise.all([charge(undefined), charge(undefined), charge(undefined)]);
    await clock.advance(1_000);
    for (const value of await calls) expect(value).toStrictEqual(make());
  });

  it("gives a Buffer back as a Uint8Array of the same bytes, to the first caller as well", async () => {
    const { once } = setUp();
    const charge = once(() => ({ body: Buffer.from("bytes") as Uint8Array }));
    for (let time = 0; time < 2; time += 1) {
      const { body } = await charge(undefined);
      expect(Object.getPrototypeOf(body)).toBe(Uint8Array.prototype);
      expect(body).toEqual(new TextEncoder().encode("bytes"));
    }
  });

  it("gives what toJSON gives, to the first caller as well", async () => {
    const { once } = setUp();
    class Money {
      toJSON() {
        return { amount: 5 };
      }
    }
    const charge = once<undefined, unknown>(() => new Money());
    expect(await charge(undefined)).toStrictEqual({ amount: 5 });
    expect(await charge(undefined)).toStrictEqual({ amount: 5 });
  });

  it("holds for any nesting of any values", async () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        expect(taggedJson.decode(taggedJson.encode(value))).toStrictEqual(value);
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it("is not changed by what a caller does to its value", async () => {
    const { once } = setUp();
    const original = { items: [1, 2], bytes: new Uint8Array([1]) };
    const charge = once((_input: undefined) => original, { cache: { maxEntries: 10 } });
    const first = await charge(undefined);
    first.items.push(99);
    first.bytes[0] = 99;
    original.items.push(98);
    const second = await charge(undefined);
    second.items.length = 0;
    expect(await charge(undefined)).toEqual({ items: [1, 2], bytes: new Uint8Array([1]) });
  });

  it("gives every waiter a value of its own", async () => {
    const { once, clock } = setUp();
    const charge = once(
      async () => {
        await clock.sleep(10);
        return { items: [1] };
      },
      { inFlight: "wait" },
    );
    const calls = Promise.all([charge(undefined), charge(undefined), charge(undefined)]);
    await clock.advance(1_000);
    const [a, b, c] = await calls;
    a?.items.push(2);
    expect([b, c]).toEqual([{ items: [1] }, { items: [1] }]);
  });

  it("never takes a stored `then` for a promise's", async () => {
    const { once } = setUp();
    let called = false;
    const codec: Codec = {
      encode: () => new Uint8Array(1),
      decode: () => ({
        then: () => {
          called = true;
        },
      }),
    };
    const charge = once<undefined, unknown>(() => 1, { codec });
    const { value } = await charge.run(undefined);
    const replayed = await charge.run(undefined);
    expect(called).toBe(false);
    expect(typeof (value as { then: unknown }).then).toBe("function");
    expect(typeof (replayed.value as { then: unknown }).then).toBe("function");
  });

  it("lets a stored __proto__ reach no prototype", async () => {
    const { once } = setUp();
    const charge = once<undefined, unknown>(() => JSON.parse('{"__proto__": {"polluted": true}}'));
    await charge(undefined);
    const value = (await charge(undefined)) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.hasOwn(value, "__proto__")).toBe(true);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
