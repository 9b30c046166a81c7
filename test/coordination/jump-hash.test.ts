import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jumpHash } from "../../src/coordination/jump-hash.ts";
import { fnv1a64 } from "../../src/coordination/uint64.ts";
import vectors from "./jump-hash-vectors.json" with { type: "json" };
import { unevenness } from "./set-up.ts";

const bits64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
const anyKey = fc.oneof(bits64, fc.string({ unit: "grapheme" }));

/** The paper's text, in BigInt: slow, and plainly the same. */
function asInThePaper(key: bigint, buckets: number): number {
  let state = BigInt.asUintN(64, key);
  let bucket = -1n;
  let next = 0n;
  while (next < BigInt(buckets)) {
    bucket = next;
    state = BigInt.asUintN(64, state * 2862933555777941757n + 1n);
    next = BigInt(Math.floor((Number(bucket) + 1) * (2 ** 31 / (Number(state >> 33n) + 1))));
  }
  return Number(bucket);
}

describe("jumpHash", () => {
  it("answers what other implementations answer", () => {
    for (const { key, buckets, bucket } of vectors.cases) {
      expect(jumpHash(BigInt(key), buckets), `${key} of ${buckets}`).toBe(bucket);
    }
    for (const [key, series] of Object.entries(vectors.series_n_1_to_19)) {
      expect(series.map((_, index) => jumpHash(BigInt(key), index + 1))).toEqual(series);
    }
    expect(vectors.cases.length).toBeGreaterThan(100);
  });

  it("hashes a text with FNV-1a of its UTF-8", () => {
    for (const { key, hash, buckets, bucket } of vectors.strings_fnv1a64) {
      const { high, low } = fnv1a64(key);
      expect(high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0")).toBe(hash);
      expect(jumpHash(key, buckets), `${key} of ${buckets}`).toBe(bucket);
      expect(jumpHash(BigInt(`0x${hash}`), buckets)).toBe(bucket);
    }
  });

  it("calculates exactly, with every key of 64 bits and any number of buckets", () => {
    fc.assert(
      fc.property(bits64, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (key, buckets) => {
        expect(jumpHash(key, buckets)).toBe(asInThePaper(key, buckets));
      }),
      { numRuns: 500 },
    );
  });

  it("tells keys beyond 2^53 apart that would be one as numbers", () => {
    const around = Array.from({ length: 64 }, (_, index) => jumpHash(2n ** 60n + BigInt(index), 1_000_003));
    expect(new Set(around).size).toBeGreaterThan(60);
  });

  it("takes a negative bigint as its 64 bits, and of a longer one the lowest", () => {
    expect(jumpHash(-1n, 2_147_483_647)).toBe(jumpHash(2n ** 64n - 1n, 2_147_483_647));
    fc.assert(
      fc.property(fc.bigInt(), fc.integer({ min: 1, max: 10_000 }), (key, buckets) => {
        expect(jumpHash(key, buckets)).toBe(jumpHash(BigInt.asUintN(64, key), buckets));
      }),
    );
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "3", undefined])(
    "refuses %s buckets",
    (buckets) => {
      expect(() => jumpHash("x", buckets as number)).toThrow(RangeError);
      expect(() => jumpHash(1n, buckets as number)).toThrow(/buckets must be a positive whole number/);
    },
  );

  it("moves a key to a bucket that is added, or not at all", () => {
    fc.assert(
      fc.property(anyKey, fc.integer({ min: 1, max: 5_000 }), (key, buckets) => {
        const before = jumpHash(key, buckets);
        expect(before).toBeGreaterThanOrEqual(0);
        expect(before).toBeLessThan(buckets);
        expect([before, buckets]).toContain(jumpHash(key, buckets + 1));
      }),
      { numRuns: 1_000 },
    );
  });

  it("moves a share of 1/n to the nth bucket", () => {
    const keys = Array.from({ length: 20_000 }, (_, index) => `tenant-${index}`);
    const moved = keys.filter((key) => jumpHash(key, 9) !== jumpHash(key, 10)).length;
    expect(moved / keys.length).toBeGreaterThan(0.095);
    expect(moved / keys.length).toBeLessThan(0.105);
  });

  it.each([
    ["texts", (index: number) => `tenant-${index}`],
    ["numbers in a row", (index: number) => BigInt(index)],
  ])("spreads %s evenly", (_, keyOf) => {
    for (const buckets of [2, 7, 256]) {
      const counts = new Array<number>(buckets).fill(0);
      for (let index = 0; index < 50_000; index += 1) (counts[jumpHash(keyOf(index), buckets)] as number) += 1;
      expect(unevenness(counts)).toBeLessThan(5);
    }
  });

  it.each([[7], [["a"]], [undefined], [null]])("refuses %o as a key", (key) => {
    expect(() => jumpHash(key as never, 10)).toThrow(TypeError);
  });
});
