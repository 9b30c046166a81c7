import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RendezvousMember, rendezvous, rendezvousRank } from "../../src/coordination/rendezvous.ts";
import { unevenness } from "./set-up.ts";

const key = fc.string({ unit: "grapheme" });
const id = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.integer({ min: 0, max: 30 }).map((n) => `node-${n}`),
);
const weight = fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 0.001, max: 1_000, noNaN: true }));
const member: fc.Arbitrary<RendezvousMember> = fc.oneof(id, fc.record({ id, weight }));
/** Members of different ids. */
const members = fc.uniqueArray(member, { selector: idOf, maxLength: 12 });
const shuffledTwice = fc.array(member, { maxLength: 12 }).chain((list) => {
  const doubled = [...list, ...list];
  return fc.tuple(
    fc.constant(list),
    fc.shuffledSubarray(doubled, { minLength: doubled.length, maxLength: doubled.length }),
  );
});
const KEYS = Array.from({ length: 30_000 }, (_, index) => `shard-${index}`);

function idOf(one: RendezvousMember): string {
  return typeof one === "string" ? one : one.id;
}

function weightOf(one: RendezvousMember): number {
  return typeof one === "string" ? 1 : one.weight;
}

function sharesOf(all: readonly RendezvousMember[], keys: readonly string[] = KEYS): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of keys) {
    const owner = rendezvous(one, all) ?? "nobody";
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  return counts;
}

/** The whole calculation in BigInt, for members of weight 1. */
function calculated(one: string, ids: readonly string[]): string | undefined {
  const mask = 2n ** 64n - 1n;
  const score = (each: string): number => {
    const bytes = [...new TextEncoder().encode(one), 0xff, ...new TextEncoder().encode(each)];
    let hash = 0xcbf29ce484222325n;
    for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & mask;
    for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) hash = ((hash ^ (hash >> 33n)) * factor) & mask;
    hash ^= hash >> 33n;
    return -1 / Math.log(Number(hash >> 11n) / 2 ** 53);
  };
  return [...ids].sort((a, b) => score(b) - score(a))[0];
}

describe("rendezvous", () => {
  it("calculates exactly", () => {
    fc.assert(
      fc.property(key, fc.uniqueArray(id, { maxLength: 5 }), (one, ids) => {
        expect(rendezvous(one, ids)).toBe(calculated(one, ids));
      }),
    );
  });

  it("doesn't mind in which order members come, or how often", () => {
    fc.assert(
      fc.property(key, shuffledTwice, (one, [list, shuffled]) => {
        expect(rendezvous(one, shuffled)).toBe(rendezvous(one, list));
        expect(rendezvousRank(one, shuffled)).toEqual(rendezvousRank(one, list));
      }),
    );
  });

  it("counts a member that comes with two weights with the greater one", () => {
    const light = { id: "a", weight: 1 };
    const heavy = { id: "a", weight: 50 };
    const shares = sharesOf([light, heavy, { id: "b", weight: 50 }]);
    expect(sharesOf([heavy, light, { id: "b", weight: 50 }])).toEqual(shares);
    expect(shares).toEqual(sharesOf([heavy, { id: "b", weight: 50 }]));
  });

  it("moves only the keys of a member that goes, and to one that comes only what it takes", () => {
    fc.assert(
      fc.property(key, members, member, (one, others, extra) => {
        fc.pre(!others.some((other) => idOf(other) === idOf(extra)));
        const without = rendezvous(one, others);
        const owner = rendezvous(one, [...others, extra]);
        if (owner !== idOf(extra)) expect(owner).toBe(without);
        if (weightOf(extra) === 0) expect(owner).toBe(without);
      }),
      { numRuns: 2_000 },
    );
  });

  it("moves only to a member whose weight rises, and only from one whose weight falls", () => {
    fc.assert(
      fc.property(key, members, fc.tuple(weight, weight), (one, others, [a, b]) => {
        const rest = others.filter((other) => idOf(other) !== "changed");
        const light = rendezvous(one, [...rest, { id: "changed", weight: Math.min(a, b) }]);
        const heavy = rendezvous(one, [...rest, { id: "changed", weight: Math.max(a, b) }]);
        if (heavy !== "changed") expect(heavy).toBe(light);
      }),
      { numRuns: 1_000 },
    );
  });

  it("spreads keys evenly over members of one weight, also where ids are alike", () => {
    for (const count of [2, 3, 16]) {
      const ids = Array.from({ length: count }, (_, index) => `node-${index}`);
      const shares = sharesOf(ids);
      expect(unevenness(ids.map((each) => shares.get(each) ?? 0))).toBeLessThan(5);
    }
  });

  it("gives shares after the weights, within a twentieth of them", () => {
    const weighted = [
      { id: "a", weight: 1 },
      { id: "b", weight: 2 },
      { id: "c", weight: 3.5 },
      { id: "d", weight: 0 },
      "e",
    ];
    const shares = sharesOf(weighted);
    const sum = 7.5;
    for (const one of weighted.filter((each) => weightOf(each) > 0)) {
      const share = (shares.get(idOf(one)) ?? 0) / KEYS.length / (weightOf(one) / sum);
      expect(share, idOf(one)).toBeGreaterThan(0.95);
      expect(share, idOf(one)).toBeLessThan(1.05);
    }
    expect(shares.has("d")).toBe(false);
  });

  it("doesn't mind in what unit weights are", () => {
    fc.assert(
      fc.property(key, members, (one, list) => {
        const doubled = list.map((each) => ({ id: idOf(each), weight: weightOf(each) * 1_024 }));
        expect(rendezvous(one, doubled)).toBe(rendezvous(one, list));
      }),
    );
  });

  it("owns nothing with weight 0, and has nobody where there are no members", () => {
    expect(rendezvous("k", [])).toBeUndefined();
    expect(rendezvous("k", [{ id: "a", weight: 0 }])).toBeUndefined();
    expect(rendezvousRank("k", [])).toEqual([]);
    expect(rendezvousRank("k", [{ id: "a", weight: 0 }, "b"])).toEqual(["b"]);
  });

  it.each([-1, -0.001, Number.NaN, Number.POSITIVE_INFINITY, "1", undefined])("refuses the weight %s", (bad) => {
    const list = ["a", { id: "b", weight: bad as number }];
    expect(() => rendezvous("k", list)).toThrow(RangeError);
    expect(() => rendezvousRank("k", list)).toThrow(/weight of "b"/);
  });

  it("decides a tie by the id", () => {
    // So great that every score is too: none is higher than another.
    const heavy = ["c", "a", "b"].map((each) => ({ id: each, weight: Number.MAX_VALUE }));
    const tied = KEYS.slice(0, 200).map((one) => rendezvousRank(one, heavy));
    const infinite = tied.filter((rank) => rank.join() === "a,b,c").length;
    expect(infinite).toBeGreaterThan(60);
    for (const one of KEYS.slice(0, 200)) expect(rendezvous(one, heavy)).toBe(rendezvousRank(one, heavy)[0]);
  });

  it("never confuses what belongs to the key with what belongs to the member", () => {
    const whole = KEYS.slice(0, 4_000);
    // With "ab" + "c" and "a" + "bc" taken for one, keys that end as members begin would fall together.
    const shifted = whole.filter((one) => {
      const first = rendezvousRank(one, ["xa", "b"])[0];
      const second = rendezvousRank(`${one}x`, ["a", "b"])[0];
      return (first === "b") === (second === "b");
    });
    expect(shifted.length / whole.length).toBeGreaterThan(0.45);
    expect(shifted.length / whole.length).toBeLessThan(0.55);
  });

  it("stays what it is from one release to the next", () => {
    expect(
      KEYS.slice(0, 12)
        .map((one) => rendezvous(one, ["a", "b", { id: "c", weight: 2 }]))
        .join(""),
    ).toBe("cbacacbbcbbc");
  });
});

describe("rendezvousRank", () => {
  it("begins with the owner and lists every member that weighs once", () => {
    fc.assert(
      fc.property(key, members, (one, list) => {
        const rank = rendezvousRank(one, list);
        expect(rank[0]).toBe(rendezvous(one, list));
        const weighing = list.filter((each) => weightOf(each) > 0).map(idOf);
        expect([...rank].sort()).toEqual(weighing.sort());
      }),
    );
  });

  it("stays the same without its first, and without any other", () => {
    fc.assert(
      fc.property(key, members, fc.nat(), (one, list, at) => {
        const rank = rendezvousRank(one, list);
        for (const gone of [rank[0], rank[at % Math.max(1, rank.length)]]) {
          const left = rendezvousRank(
            one,
            list.filter((each) => idOf(each) !== gone),
          );
          expect(left).toEqual(rank.filter((each) => each !== gone));
        }
      }),
    );
  });
});
