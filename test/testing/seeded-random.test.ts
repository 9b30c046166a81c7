import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("seededRandom", () => {
  it("gives the same sequence for the same seed", () => {
    const [a, b] = [seededRandom(42), seededRandom(42)];
    for (let time = 0; time < 100; time += 1) {
      expect(a.float()).toBe(b.float());
      expect(hex(a.bytes(time % 20))).toBe(hex(b.bytes(time % 20)));
    }
  });

  it("gives another sequence for every seed, neighbours and large ones included", () => {
    const seeds = [0, 1, 2, 3, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
    expect(new Set(seeds.map((seed) => hex(seededRandom(seed).bytes(16)))).size).toBe(seeds.length);
    const many = Array.from({ length: 10_000 }, (_, seed) => hex(seededRandom(seed).bytes(16)));
    expect(new Set(many).size).toBe(10_000);
  });

  it("keeps its sequence over releases, so that a printed seed repeats its run", () => {
    expect(hex(seededRandom(7).bytes(12))).toBe("f7468d6db8db277d39a2c74e");
  });

  it("gives floats from 0 to below 1 that spread evenly", () => {
    const random = seededRandom(1);
    const buckets = Array.from({ length: 10 }, () => 0);
    for (let time = 0; time < 100_000; time += 1) {
      const float = random.float();
      if (float < 0 || float >= 1) throw new Error(`${float} is outside of [0, 1)`);
      const bucket = Math.floor(float * 10);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  it("gives as many bytes as are asked for", () => {
    const random = seededRandom(1);
    for (const length of [0, 1, 3, 4, 5, 16, 1_001]) expect(random.bytes(length)).toHaveLength(length);
    expect(new Set(random.bytes(10_000)).size).toBe(256);
  });

  it("gives no nonce twice in a long run", () => {
    const random = seededRandom(3);
    const nonces = Array.from({ length: 50_000 }, () => hex(random.bytes(16)));
    expect(new Set(nonces).size).toBe(50_000);
  });

  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "7"])("refuses %s as a seed", (seed) => {
    expect(() => seededRandom(seed as number)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });
});
