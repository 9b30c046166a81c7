import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPlainText } from "../../src/option-rules.ts";
import { compareCodePoints } from "../../src/resource-record.ts";
import {
  acceptDesired,
  type DesiredSet,
  desiredOfText,
  desiredTextOf,
  entriesOf,
} from "../../src/resources/desired-text.ts";
import { thrownBy } from "./ledger-set-up.ts";

const accept = (desired: unknown) => acceptDesired("ResourceLedger.setDesired", "web", desired);
const textOf = async (desired: unknown) => desiredTextOf(await accept(desired));

describe("a desired number", () => {
  it("means ids made of the group's name, made as they are asked for", async () => {
    const set = await accept(10_000_000);
    expect(set).toEqual({ kind: "count", count: 10_000_000 });
    const first = entriesOf("web", set)[Symbol.iterator]();
    expect([first.next().value, first.next().value]).toEqual([{ id: "web-0" }, { id: "web-1" }]);
    expect([...entriesOf("web", { kind: "count", count: 3 })].map(({ id }) => id)).toEqual(["web-0", "web-1", "web-2"]);
  });

  it.each([0, 10, 10_000_000])("of %d is a short text that leads back", async (count) => {
    const text = await textOf(count);
    expect(text).toBe(`{"count":${count}}`);
    expect(await desiredOfText(text)).toEqual({ kind: "count", count });
  });

  it("of -0 is 0", async () => {
    expect(await textOf(-0)).toBe('{"count":0}');
  });

  it.each([
    [-1, "must be a whole number that is not negative"],
    [1.5, "must be a whole number that is not negative"],
    [Number.NaN, "must be a whole number that is not negative"],
    [Number.POSITIVE_INFINITY, "must be a whole number that is not negative"],
    [10_000_001, "more than 10,000,000 resources"],
  ])("may not be %d", async (count, says) => {
    const message = expect.stringContaining(says);
    expect(await thrownBy(accept(count))).toMatchObject({ code: "INVALID_OPTIONS", message });
  });

  it("may not be of a group whose name leaves no room for numbers", async () => {
    const of = (length: number, count: number) => acceptDesired("it", "g".repeat(length), count);
    expect(await of(253, 10)).toMatchObject({ count: 10 });
    expect(await of(255, 0)).toMatchObject({ count: 0 });
    expect(await thrownBy(of(253, 11))).toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("a desired list", () => {
  it("may not be longer than 2,000,000, and is not read further", async () => {
    const says = { code: "INVALID_OPTIONS", message: expect.stringContaining("more than 2,000,000 resources") };
    expect(await thrownBy(accept(new Array(2_000_001)))).toMatchObject(says);
    let read = 0;
    function* endless() {
      for (;;) {
        read += 1;
        yield undefined;
      }
    }
    expect(await thrownBy(accept(endless()))).toMatchObject(says);
    expect(read).toBe(2_000_001);
  });

  it("that is no array and no set is read in turns, and no further once its reader is stopped", async () => {
    let read = 0;
    function* endless() {
      for (;;) {
        read += 1;
        yield { id: `r-${read}` };
      }
    }
    const stopped = new AbortController();
    const accepted = acceptDesired("desired", "web", endless(), stopped.signal);
    expect(read).toBe(1_000);
    stopped.abort(new Error("enough"));
    expect(await thrownBy(accepted)).toMatchObject({ message: "enough" });
    expect(read).toBe(1_000);
  });

  it("is checked and encoded in its order", async () => {
    const list = [
      { id: "b", spec: { y: 1, x: 2 }, deletionCost: 3 },
      { id: "a", spec: undefined, deletionCost: 0 },
    ];
    expect(await accept(new Set(list))).toEqual({
      kind: "list",
      resources: [{ id: "b", spec: '{"x":2,"y":1}', deletionCost: 3 }, { id: "a" }],
    });
  });

  it("is a compact text", async () => {
    const list = [{ id: "c", deletionCost: -1.5 }, { id: "b", spec: { x: 1 } }, { id: "a" }];
    expect(await textOf(list)).toBe('["a",["b","{\\"x\\":1}"],["c",null,-1.5]]');
  });

  const entries = fc.uniqueArray(
    fc.record(
      {
        id: fc
          .string({ unit: "grapheme", minLength: 1, maxLength: 6 })
          .filter((id) => id.trim() !== "" && isPlainText(id)),
        spec: fc.oneof(fc.jsonValue(), fc.bigInt()),
        deletionCost: fc.double({ noNaN: true, noDefaultInfinity: true }),
      },
      { requiredKeys: ["id"] },
    ),
    { selector: ({ id }) => id, maxLength: 20 },
  );

  it("is the same text in every order, and leads back to the same set", async () => {
    const property = fc.asyncProperty(entries, fc.integer({ min: 0, max: 20 }), async (list, by) => {
      const set = await accept(list);
      const text = await desiredTextOf(set);
      const shuffled = [...list.slice(by), ...list.slice(0, by)].reverse();
      expect(await textOf(shuffled)).toBe(text);
      const back = [...entriesOf("web", await desiredOfText(text))];
      const sorted = [...entriesOf("web", set)].sort((a, b) => compareCodePoints(a.id, b.id));
      expect(back).toEqual(sorted);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  it("is taken as it was at the call", async () => {
    const list = Array.from({ length: 5_000 }, (_, index) => ({ id: `w${index}` }));
    const accepted = accept(list);
    list.length = 10;
    expect(await accepted).toHaveProperty("resources.length", 5_000);
  });

  it("of a million is sorted and written without keeping the event loop to itself", async () => {
    const COUNT = 1_000_000;
    function* backwards() {
      for (let index = COUNT; index > 0; index -= 1) yield { id: `web-${index}` };
    }
    let turns = 0;
    let watching = true;
    const watch = (): void => {
      turns += 1;
      if (watching) setImmediate(watch);
    };
    setImmediate(watch);
    const text = await textOf(backwards());
    const back = (await desiredOfText(text)) as Extract<DesiredSet, { kind: "list" }>;
    watching = false;
    expect(back.resources).toHaveLength(COUNT);
    expect(back.resources[1]).toEqual({ id: "web-10" });
    // Once in 2,000 entries, for each of: accepting, sorting, writing and reading.
    expect(turns).toBeGreaterThan(4 * (COUNT / 2_000) - 10);
  });

  it.each([
    ["web-1", "desired must not be a string"],
    [undefined, "desired must be a number or an iterable"],
    [null, "desired must be a number or an iterable"],
    [{ complete: true, resources: [] }, "desired must be a number or an iterable"],
    [5n, "desired must be a number or an iterable"],
    [["web-1"], "the desired resource at 0 must be an object with an id"],
    [[{ id: "a" }, null], "the desired resource at 1 must be an object with an id"],
    [new Map([["a", { id: "a" }]]), "the desired resource at 0 must be an object with an id"],
    [[{}], "the id of the desired resource at 0 must be"],
    [[{ id: 7 }], "the id of the desired resource at 0 must be"],
    [[{ id: "" }], "the id of the desired resource at 0 must be"],
    [[{ id: "a\nb" }], "the id of the desired resource at 0 must be"],
    [[{ id: "\ud800" }], "the id of the desired resource at 0 must be"],
    [[{ id: "x".repeat(256) }], "the id of the desired resource at 0 must be"],
    [[{ id: "web-3" }, { id: "a" }, { id: "web-3" }], 'the id "web-3" comes twice'],
    [[{ id: "a", deletionCost: "1" }], 'the deletionCost of "a" must be a finite number'],
    [[{ id: "a", deletionCost: Number.NaN }], 'the deletionCost of "a" must be a finite number'],
    [[{ id: "a", deletioncost: 1 }], 'the desired resource at 0 has an unknown field "deletioncost"'],
    [[{ id: "a", spec: () => {} }], 'the spec of "a" can\'t be stored'],
  ])("may not be %s: %s", async (desired, says) => {
    const message = expect.stringContaining(`ResourceLedger.setDesired: ${says}`);
    expect(await thrownBy(accept(desired))).toMatchObject({ code: "INVALID_OPTIONS", message });
  });

  it("has what its iterable throws thrown as it is", async () => {
    const error = new Error("the database is away");
    function* broken() {
      yield { id: "a" };
      throw error;
    }
    expect(await thrownBy(accept(broken()))).toBe(error);
  });
});

describe("a damaged text of what is desired", () => {
  it.each([
    "",
    "{",
    "null",
    "7",
    "{}",
    '{"count":-1}',
    '{"count":10000001}',
    '{"count":1.5}',
    '[""]',
    "[7]",
    "[[]]",
    '[["a",7]]',
    '[["a",null,"1"]]',
    '[["a",null,1,2]]',
    '["a","a"]',
    '["b","a"]',
  ])("%s is RECORD_CORRUPT", async (text) => {
    expect(await thrownBy(desiredOfText(text))).toMatchObject({ code: "RECORD_CORRUPT" });
  });
});
