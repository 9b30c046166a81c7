import { describe, expect, it } from "vitest";
import type { GroupSummary } from "../../../adapters/dashboard/dashboard.ts";
import { History } from "../../../adapters/dashboard/history.ts";
import { GroupHistory } from "../../../adapters/dashboard/page/group-history.ts";

const MINUTE_MS = 60_000;
const NAMES = new Set(["web"]);

function web(desired: number): GroupSummary {
  return { name: "web", isHere: false, desired };
}

describe.each([
  [
    "the server",
    () => {
      const history = new History();
      return {
        add: (at: number, desired: number) => history.add(at, [web(desired)], NAMES),
        points: () => history.byGroup()["web"] ?? [],
      };
    },
  ],
  [
    "the page",
    () => {
      const history = new GroupHistory();
      return {
        add: (at: number, desired: number) => history.add(at, [web(desired)], () => false),
        points: () => history.of("web"),
      };
    },
  ],
])("what %s has seen", (_, begun) => {
  it("goes on from a clock that went back, in the order of its moments", () => {
    const { add, points } = begun();
    const now = 100 * MINUTE_MS;
    for (let minute = 0; minute < 40; minute += 1) add(now + minute * MINUTE_MS, minute);
    add(now + 9.5 * MINUTE_MS, 50);
    add(now + 9.6 * MINUTE_MS, 51);
    const seen = points();
    expect(seen.at(0)?.desired).toBe(0);
    expect(seen.slice(-3).map(({ desired }) => desired)).toEqual([9, 50, 51]);
    const moments = seen.map(({ at }) => at);
    expect(moments).toEqual(moments.toSorted((a, b) => a - b));
  });

  it("begins at the edge of the hour with what held there", () => {
    const { add, points } = begun();
    const now = 100 * MINUTE_MS;
    for (const [minute, desired] of [
      [0, 1],
      [10, 2],
      [20, 3],
      [75, 4],
    ] as const)
      add(now + minute * MINUTE_MS, desired);
    expect(points().map(({ at, desired }) => [(at - now) / MINUTE_MS, desired])).toEqual([
      [15, 2],
      [20, 3],
      [75, 4],
    ]);
  });

  it("is the same where a moment is told twice", () => {
    const { add, points } = begun();
    for (const at of [1_000, 2_000, 3_000, 3_000]) add(at, 1);
    expect(points().map(({ at, desired }) => [at, desired])).toEqual([
      [1_000, 1],
      [3_000, 1],
    ]);
  });
});
