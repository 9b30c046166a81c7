import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareNatural, rankSurplus, type SurplusCandidate, type SurplusOrder } from "../../src/reconcile/surplus.ts";
import type { ResourceRecord } from "../../src/resources/resource.ts";

const resource: ResourceRecord = {
  group: "workers",
  id: "web-5",
  incarnation: 1,
  state: "PROVISIONED",
  generation: 3,
  createdAt: 1_000,
  fencingToken: 1,
  version: 1,
};

function candidate(
  fields: Partial<ResourceRecord>,
  view: Partial<Omit<SurplusCandidate, "resource">> = {},
): SurplusCandidate {
  return { resource: { ...resource, ...fields }, stale: false, deletionCost: 0, ...view };
}

const idsOf = (ranked: SurplusCandidate[]): string[] => ranked.map((one) => one.resource.id);

const anyCandidate = fc
  .record({
    id: fc.constantFrom("web-1", "web-2", "web-10", "web-01", "db-1", "web", "10", "9"),
    incarnation: fc.integer({ min: 1, max: 3 }),
    state: fc.constantFrom("PENDING" as const, "FAILED" as const, "PROVISIONED" as const),
    generation: fc.integer({ min: 1, max: 2 }),
    createdAt: fc.integer({ min: 1, max: 2 }),
    stale: fc.boolean(),
    deletionCost: fc.integer({ min: -1, max: 1 }),
  })
  .map(({ stale, deletionCost, ...fields }) => candidate(fields, { stale, deletionCost }));

/** Candidates that differ in their identity, and a shuffle of them. */
const shuffled = fc
  .uniqueArray(anyCandidate, { selector: (one) => `${one.resource.id}/${one.resource.incarnation}`, maxLength: 24 })
  .chain((candidates) =>
    fc.tuple(
      fc.constant(candidates),
      fc.shuffledSubarray(candidates, { minLength: candidates.length, maxLength: candidates.length }),
    ),
  );

describe("rankSurplus", () => {
  it("ranks the same whatever order they came in, under an order of the user's too, even a senseless one", () => {
    const orders: (SurplusOrder | undefined)[] = [
      undefined,
      (a, b) => a.resource.createdAt - b.resource.createdAt,
      () => 0,
      () => 1,
      (a, b) => ((a.resource.id.length * 7 + b.resource.incarnation * 3) % 5) - 2,
    ];
    fc.assert(
      fc.property(shuffled, fc.constantFrom(...orders), ([candidates, shuffle], order) => {
        expect(rankSurplus(shuffle, order)).toEqual(rankSurplus(candidates, order));
        expect(rankSurplus(candidates, order)).toHaveLength(candidates.length);
      }),
    );
  });

  it.each<[string, SurplusCandidate, SurplusCandidate]>([
    [
      "pending before failed",
      candidate({ state: "PENDING" }, { deletionCost: 9 }),
      candidate({ state: "FAILED" }, { stale: true }),
    ],
    [
      "failed before provisioned",
      candidate({ state: "FAILED" }, { deletionCost: 9 }),
      candidate({}, { stale: true, deletionCost: -9 }),
    ],
    ["terminating before pending", candidate({ state: "TERMINATING" }), candidate({ state: "PENDING" })],
    ["stale before cheap", candidate({}, { stale: true, deletionCost: 9 }), candidate({}, { deletionCost: -9 })],
    [
      "cheap before outdated",
      candidate({ generation: 3 }, { deletionCost: -1 }),
      candidate({ generation: 1 }, { deletionCost: 0 }),
    ],
    [
      "outdated before young",
      candidate({ generation: 2, createdAt: 1 }),
      candidate({ generation: 3, createdAt: 2_000 }),
    ],
    [
      "young before a high id",
      candidate({ createdAt: 2_000, id: "web-1" }),
      candidate({ createdAt: 1_000, id: "web-9" }),
    ],
    [
      "a high id before a high incarnation",
      candidate({ id: "web-10", incarnation: 1 }),
      candidate({ id: "web-9", incarnation: 7 }),
    ],
    ["a high incarnation before a low one", candidate({ incarnation: 2 }), candidate({ incarnation: 1 })],
  ])("puts %s", (_, first, second) => {
    expect(rankSurplus([second, first])).toEqual([first, second]);
    expect(rankSurplus([first, second])).toEqual([first, second]);
  });

  it("lets 10 to 5 of equal age end with the five highest", () => {
    const ids = Array.from({ length: 10 }, (_, i) => `web-${i + 1}`);
    expect(idsOf(rankSurplus(ids.map((id) => candidate({ id })))).slice(0, 5)).toEqual([
      "web-10",
      "web-9",
      "web-8",
      "web-7",
      "web-6",
    ]);
  });

  it("asks the user's order first, and leaves ties to its own", () => {
    const order: SurplusOrder = (a, b) => a.resource.generation - b.resource.generation;
    const ranked = rankSurplus(
      [
        candidate({ id: "a", generation: 3, state: "PENDING" }),
        candidate({ id: "b", generation: 2 }),
        candidate({ id: "c", generation: 2 }, { stale: true }),
      ],
      order,
    );
    expect(idsOf(ranked)).toEqual(["c", "b", "a"]);
  });

  it("leaves its input as it was", () => {
    const candidates = Object.freeze([candidate({ id: "web-1" }), candidate({ id: "web-2" })]);
    expect(idsOf(rankSurplus(candidates, () => -1))).toHaveLength(2);
    expect(idsOf([...candidates])).toEqual(["web-1", "web-2"]);
  });

  it.each([Number.NaN, undefined, null, "1", true, 1n, {}])("refuses an order that answers %s", (answer) => {
    expect(() => rankSurplus([candidate({ id: "a" }), candidate({ id: "b" })], () => answer as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("surplus") }),
    );
  });
});

describe("compareNatural", () => {
  it.each([
    ["web-9", "web-10"],
    ["9", "10"],
    ["web-2-b9", "web-2-b10"],
    ["web-9-z", "web-10-a"],
    ["a1b", "a01c"],
    ["web-01", "web-1"],
    ["web", "web-1"],
    ["web-1", "web-1a"],
    ["", "0"],
    ["0", "1"],
    ["00", "1"],
    ["-1", "1"],
    ["1", "a"],
    ["v90071992547409920", "v90071992547409930"],
    ["9".repeat(400), `1${"0".repeat(400)}`],
    // Code points, not UTF-16 units: U+FF5E is below U+1F600, whose first unit is D83D.
    ["\uff5e", "\u{1f600}"],
    ["٣", "٤"],
  ])("puts %s before %s", (lower, higher) => {
    expect(compareNatural(lower, higher)).toBe(-1);
    expect(compareNatural(higher, lower)).toBe(1);
  });

  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom("0", "1", "9", "a", "-", "\uff5e", "\u{1f600}", "\u{1f601}"), maxLength: 6 }),
    fc.string({ unit: "binary", maxLength: 6 }),
  );

  it("is a total order: only equal texts are equal, and it holds both ways and over a third", () => {
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        expect(compareNatural(a, b) === 0).toBe(a === b);
        expect(compareNatural(a, b)).toBe(0 - compareNatural(b, a));
        const [low, middle, high] = [a, b, c].sort(compareNatural) as [string, string, string];
        expect(compareNatural(low, middle)).toBeLessThanOrEqual(0);
        expect(compareNatural(middle, high)).toBeLessThanOrEqual(0);
        expect(compareNatural(low, high)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it("orders numbers in a text as numbers", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n }), fc.bigInt({ min: 0n }), (a, b) => {
        expect(compareNatural(`n${a}x`, `n${b}x`)).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
  });
});
