import { describe, expect, it } from "vitest";
import type { ResourceRow } from "../../src/index.ts";
import type { ElectionLine, ElectionNews } from "../support/election-lines.ts";
import { judgeElection, judgeLedger } from "./election-log.ts";

const DURATIONS = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 300 };

type Told = readonly [at: number, news: ElectionNews];

/** Of a term that begins at `at`, renews once, and has three effects. */
function term(epoch: number, at: number): Told[] {
  return [
    [at, { what: "confirmed", epoch }],
    [at + 5, { what: "started", epoch }],
    [at + 10, { what: "effect", epoch }],
    [at + 1_000, { what: "confirmed", epoch }],
    [at + 1_010, { what: "effect", epoch }],
    [at + 2_999, { what: "effect", epoch }],
  ];
}

function ends(epoch: number, at: number): Told[] {
  return [
    [at, { what: "over", epoch, reason: "deadline" }],
    [at, { what: "settled", epoch }],
    [at, { what: "releasing", epoch }],
    [at, { what: "stopped", epoch }],
  ];
}

const logOf = (node: string, told: readonly Told[]): ElectionLine[] =>
  told.map(([at, news]) => ({ ...news, at, node }));
const judge = (a: readonly Told[], b: readonly Told[] = []) =>
  judgeElection([logOf("a", a), logOf("b", b)], DURATIONS).violations;

const FIRST = term(1, 0);
const SECOND = term(2, 4_100);

describe("the judge of an election", () => {
  it("finds nothing wrong with leaders that follow one another, and tells how long nobody had an effect", () => {
    const back = term(3, 9_000);
    const a = logOf("a", [...FIRST, ...ends(1, 4_500), ...back]);
    const b = logOf("b", [...SECOND, ...ends(2, 8_000)]);
    const { violations, handovers } = judgeElection([a, b], DURATIONS);
    expect(violations).toEqual([]);
    expect(handovers).toEqual([
      { from: 1, to: 2, gapMs: 4_110 - 2_999 },
      { from: 2, to: 3, gapMs: 9_010 - 7_099 },
    ]);
  });

  it("finds an effect after the first one of a later epoch, also where the one between had fewer", () => {
    const late: Told[] = [...FIRST, [4_111, { what: "confirmed", epoch: 1 }], [4_120, { what: "effect", epoch: 1 }]];
    expect(judge(late, SECOND)).toContain("epoch 1 had an effect 10 ms after the first one of epoch 2");
    const laterStill: Told[] = [
      ...FIRST,
      [9_500, { what: "confirmed", epoch: 1 }],
      [9_600, { what: "effect", epoch: 1 }],
    ];
    expect(judge(laterStill, [...SECOND, ...ends(2, 8_000), ...term(3, 9_000)])).toContain(
      "epoch 1 had an effect 590 ms after the first one of epoch 3",
    );
  });

  it("finds an epoch that two nodes had", () => {
    expect(judge(FIRST, term(1, 10_000))).toContain("epoch 1 is that of a and b");
  });

  it.each([
    [
      "a term that begins before the last one has ended",
      [...FIRST, ...term(3, 9_000)],
      "a: started 3 came after started 1",
    ],
    [
      "one that begins before the last one was said to be over",
      [...FIRST, ...ends(1, 4_500).slice(0, 2), ...term(3, 9_000)],
      "a: started 3 came after settled 1",
    ],
    [
      "one that ends before its work has",
      [...FIRST, [4_500, { what: "stopped", epoch: 1 }]] satisfies Told[],
      "a: stopped 1 came after started 1",
    ],
    [
      "an epoch that does not rise",
      [...term(2, 0), ...ends(2, 4_500), ...term(1, 9_000)],
      "a: started 1 came after stopped 2",
    ],
  ])("finds %s", (_, log, violation) => {
    expect(judge(log as Told[])).toContain(violation);
  });

  it("finds an effect past the deadline of who had it, counted from the last renewal", () => {
    expect(judge([...FIRST, [3_001, { what: "effect", epoch: 1 }]])).toEqual([
      "a had an effect under 1 1 ms after its deadline",
    ]);
  });

  it("finds an effect of a term that was over", () => {
    const renewed: Told = [4_400, { what: "confirmed", epoch: 1 }];
    for (const line of ends(1, 4_500).slice(0, 2)) {
      const log: Told[] = [...FIRST, renewed, line, [4_600, { what: "effect", epoch: 1 }]];
      expect(judge(log)).toEqual(["a had an effect under 1 after that was over"]);
    }
  });

  it("finds a lease that was released before the work under it had settled", () => {
    expect(judge([...FIRST, [4_000, { what: "releasing", epoch: 1 }]])).toEqual([
      "a released 1 before its work had settled",
    ]);
    // One whose grant was heard of too late has no work.
    expect(judge([FIRST[0] as Told, [4_000, { what: "releasing", epoch: 1 }]])).toEqual([]);
  });

  it("finds who leads while the lease before lasts, unless that was released by then", () => {
    // It was renewed at 1,000.
    const early = term(2, 3_900);
    expect(judge(FIRST, early)).toEqual(["b led under 2 95 ms too early"]);
    expect(judge([...FIRST, ...ends(1, 3_000)], early)).toEqual([]);
    expect(judge([...FIRST, ...ends(1, 3_950)], early)).toEqual(["b led under 2 95 ms too early"]);
  });

  it("counts the writes that were refused", () => {
    const fenced = { what: "write", epoch: 1, id: "a-1", answer: "fenced" } as const;
    const applied = { ...fenced, answer: "applied", id: "a-2" } as const;
    const log = logOf("a", [...FIRST, [5_000, applied], [5_001, fenced]]);
    expect(judgeElection([log], DURATIONS).fenced).toEqual([{ ...fenced, at: 5_001, node: "a" }]);
  });
});

describe("the judge of what is in the ledger", () => {
  const row = (id: string, epoch: number) => ({ id, spec: String(epoch) }) as ResourceRow;
  const write = (id: string, epoch: number, answer: "applied" | "conflict" | "fenced" | "unknown"): Told => [
    0,
    { what: "write", id, epoch, answer },
  ];
  const judgeRows = (rows: readonly ResourceRow[], ...writes: readonly Told[]) =>
    judgeLedger([logOf("a", writes)], rows);

  it("finds nothing wrong with what was applied, refused, and not answered", () => {
    const writes = [write("a-1", 1, "applied"), write("a-2", 1, "fenced"), write("a-3", 1, "unknown")];
    expect(judgeRows([row("a-1", 1), row("b-1", 2)], ...writes)).toEqual([]);
    expect(judgeRows([row("a-1", 1), row("a-3", 1), row("b-1", 2)], ...writes)).toEqual([]);
  });

  it("finds what was taken after a write of a later epoch, from whomever", () => {
    expect(judgeRows([row("b-1", 2), row("a-1", 1)])).toEqual([
      "the ledger took a-1 of epoch 1 after a write of a later one",
    ]);
  });

  it("finds what is not there and should be, and the other way round", () => {
    expect(judgeRows([], write("a-1", 1, "applied"))).toEqual(["a-1 of epoch 1 was applied and is not in the ledger"]);
    expect(judgeRows([row("a-1", 1)], write("a-1", 1, "fenced"))).toEqual([
      "a-1 of epoch 1 was fenced and is in the ledger",
    ]);
    expect(judgeRows([], write("a-1", 1, "conflict"))).toEqual(["a-1 was refused for something else than its epoch"]);
  });
});
