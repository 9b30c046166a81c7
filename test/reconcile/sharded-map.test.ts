import fc from "fast-check";
import { expect, test } from "vitest";
import { ShardedMap } from "../../src/sharded-map.ts";

/** Enough that it is more than one map. */
const MANY = 20_000;

function filled(count: number): ShardedMap<number> {
  const map = new ShardedMap<number>();
  for (let index = 0; index < count; index += 1) map.set(`web-${index}`, index);
  return map;
}

test("a map of any size answers as a Map does", () => {
  const step = fc.tuple(fc.constantFrom("set", "delete"), fc.nat(2 * MANY), fc.nat());
  fc.assert(
    fc.property(fc.constantFrom(0, 8_191, 8_192, MANY), fc.array(step, { maxLength: 200 }), (count, steps) => {
      const map = filled(count);
      const model = new Map(Array.from({ length: count }, (_, index) => [`web-${index}`, index]));
      for (const [kind, index, value] of steps) {
        const key = `web-${index}`;
        if (kind === "set") {
          map.set(key, value);
          model.set(key, value);
        } else {
          expect(map.delete(key)).toBe(model.delete(key));
        }
        expect([map.size, map.get(key), map.has(key)]).toEqual([model.size, model.get(key), model.has(key)]);
      }
      expect([...map.values()].sort()).toEqual([...model.values()].sort());
    }),
    { numRuns: 30 },
  );
});

test("keys of any length, the empty one too, are found again among many", () => {
  const map = filled(MANY);
  const keys = ["", "a", "ab", "ü", "🦀", "x".repeat(1_000)];
  for (const [index, key] of keys.entries()) map.set(key, -index);
  expect(keys.map((key) => map.get(key))).toEqual([-0, -1, -2, -3, -4, -5]);
});

test.each([100, MANY])("of %i entries, those that are deleted while they are gone through do not come", (count) => {
  const map = filled(count);
  let seen = 0;
  for (const value of map.values()) {
    seen += 1;
    map.delete(`web-${value}`);
    map.delete(`web-${value ^ 1}`);
  }
  expect(seen).toBe(count / 2);
  expect(map.size).toBe(0);
});

test("a map that becomes many while it is gone through loses none, and gives none that is gone", () => {
  const map = filled(1_000);
  const seen = new Set<number>();
  for (const value of map.values()) {
    seen.add(value);
    if (value !== 500) continue;
    for (let index = 1_000; index < MANY; index += 1) map.set(`web-${index}`, index);
    map.delete("web-600");
  }
  for (let index = 0; index < 1_000; index += 1) expect(seen.has(index)).toBe(index !== 600);
});
