import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LARGEST_SPEC_BYTES, specOf, specText } from "../../src/resources/spec-text.ts";

const WHOSE = { owner: "ResourceLedger.provision", id: "web-1" };
const text = (spec: unknown) => specText(spec, WHOSE);

/** Data that specs are made of, objects without a prototype among it. */
const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.oneof(fc.string({ unit: "binary" }), fc.double(), fc.integer(), fc.boolean(), fc.constant(null), fc.bigInt()),
    fc.date(),
    fc.constant(undefined),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__"), fc.constant("$map")), tie("value"), { maxKeys: 4 }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
    fc.uint8Array({ maxLength: 8 }),
  ),
})).value;

/** The same value with the keys of its objects the other way round. */
function turned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(turned);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [turned(key), turned(item)]));
  if (value instanceof Set) return new Set([...value].map(turned));
  const isData = typeof value !== "object" || value === null || value instanceof Date || ArrayBuffer.isView(value);
  if (isData) return value;
  const copy = Object.create(Object.getPrototypeOf(value));
  for (const [key, item] of Object.entries(value).reverse()) {
    Object.defineProperty(copy, key, { value: turned(item), enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

describe("the text of a spec", () => {
  it("is the same whatever the order of keys", () => {
    expect(text({ b: { d: 1, c: [{ f: 1, e: 2 }] }, a: 1 })).toBe(text({ a: 1, b: { c: [{ e: 2, f: 1 }], d: 1 } }));
    expect(text({ b: 1, a: 2 })).toBe('{"a":2,"b":1}');
  });

  it("is the same whatever the order of keys, for all data, and leads back to it", () => {
    fc.assert(
      fc.property(data, (spec) => {
        const written = text(spec);
        expect(text(turned(spec))).toBe(written);
        if (written === undefined) expect(spec).toBeUndefined();
        else {
          const back = specOf(written, "web-1");
          expect(back).toEqual(spec);
          expect(text(back)).toBe(written);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("keeps the order where it means something", () => {
    expect(text([1, 2])).not.toBe(text([2, 1]));
    expect(text(new Set([1, 2]))).not.toBe(text(new Set([2, 1])));
    expect(text(new Map([["a", 1], ["b", 2]]))).not.toBe(text(new Map([["b", 2], ["a", 1]]))); // biome-ignore format: short
  });

  it("tells apart what is not the same", () => {
    const specs = [null, 0, -0, "0", false, "", {}, [], { a: undefined }, { $bigint: "1" }, 1n, new Date(0), new Map()];
    expect(new Set(specs.map(text)).size).toBe(specs.length);
  });

  it("is none for no spec", () => {
    expect(text(undefined)).toBeUndefined();
  });

  const throwsText = (): never => {
    throw "text";
  };
  const circle: { self?: unknown } = {};
  circle.self = circle;
  let deep: unknown = 1;
  for (let level = 0; level < 600; level += 1) deep = [deep];
  it.each([
    ["a function", { run: () => {} }, "A function can't be stored"],
    ["a symbol", Symbol("a"), "A symbol can't be stored"],
    ["a cycle", circle, "contains itself"],
    ["a depth", deep, "nested deeper"],
    ["an instance", new URLSearchParams("a=1"), "An instance of URLSearchParams"],
    ["a toJSON that throws no error", { toJSON: throwsText }, "its toJSON() threw"],
  ])("can't be made of %s", (_, spec, why) => {
    const message = expect.stringContaining(why);
    const write = () => text(spec);
    expect(write).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS", message }));
    expect(write).toThrow('ResourceLedger.provision: the spec of "web-1" can\'t be stored: ');
  });

  it("has at most 1 MiB of bytes, not of characters", () => {
    expect(text("x".repeat(LARGEST_SPEC_BYTES - 2))).toHaveLength(LARGEST_SPEC_BYTES);
    for (const spec of ["x".repeat(LARGEST_SPEC_BYTES - 1), "é".repeat(LARGEST_SPEC_BYTES / 2)]) {
      expect(() => text(spec)).toThrow('the spec of "web-1" is larger than 1 MiB.');
    }
  });
});
