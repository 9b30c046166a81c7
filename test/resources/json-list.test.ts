import fc from "fast-check";
import { expect, test } from "vitest";
import { isJsonList, partsOfJsonList } from "../../src/resources/json-list.ts";

/** Longer than one part, so that there is a cut behind it. */
const LONG = "x".repeat(70_000);

function read(text: string): unknown {
  expect(isJsonList(text)).toBe(true);
  return [...partsOfJsonList(text)].flat(1);
}

test("any list is read as JSON.parse reads it, wherever it is cut", () => {
  const tricky = fc.constantFrom('"', "\\", '","', '\\","', "],[", "}", "[", '\\\\"', LONG, `${LONG}",["`);
  const text = fc.oneof(tricky, fc.string());
  const item = fc.oneof(text, fc.jsonValue(), fc.array(text), fc.dictionary(text, text, { maxKeys: 3 }));
  fc.assert(
    fc.property(fc.array(fc.oneof(item, fc.constant(LONG)), { maxLength: 12 }), (list) => {
      expect(read(JSON.stringify(list))).toEqual(JSON.parse(JSON.stringify(list)));
    }),
    { numRuns: 300 },
  );
});

test("a long list comes in several parts", () => {
  const list = Array.from({ length: 30_000 }, (_, index) => `web-${index}`);
  const parts = [...partsOfJsonList(JSON.stringify(list))];
  expect(parts.flat()).toEqual(list);
  expect(parts.length).toBeGreaterThan(4);
  expect(Math.max(...parts.map(({ length }) => length))).toBeLessThan(10_000);
});

test("the empty list has no part", () => {
  expect([...partsOfJsonList("[]")]).toEqual([]);
});

test.each([
  "[,]",
  "[1,]",
  "[1 2]",
  "[1],[2]",
  '["a]',
  '["a\\"]',
  "[[1]",
  "[}]",
  `["${LONG}",]`,
  `["${LONG}",,"b"]`,
  `["${LONG}"],["b"]`,
  `["${LONG}","b]`,
  `[[["${LONG}",1],"b"]`,
  `["${LONG}", ]`,
])("what JSON.parse refuses is refused: %#", (text) => {
  expect(() => JSON.parse(text)).toThrow(SyntaxError);
  expect(() => read(text)).toThrow(SyntaxError);
});
