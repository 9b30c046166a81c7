import { describe, expect, it } from "vitest";
import type { ResourceRow } from "../../src/index.ts";
import type { ShardLine, ShardNews, WriteAnswer } from "../support/shard-lines.ts";
import { judgeShards, judgeWritten, lookPeriodMs, recoveriesOf } from "./shard-log.ts";

const DURATIONS = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 300 };
const SHARD = 5;

type Told = readonly [at: number, news: ShardNews];
type OfShard = Extract<ShardNews, { readonly shard: number }>["what"];

/** A line that says nothing more. */
function line(at: number, what: OfShard, epoch: number, shard = SHARD): Told {
  return [at, { what, shard, epoch } as ShardNews];
}

/** From `at` on: renewed once, and with two runs of two effects each. */
function term(epoch: number, at: number): Told[] {
  return [
    line(at, "confirmed", epoch),
    line(at + 5, "assigned", epoch),
    line(at + 10, "began", epoch),
    line(at + 30, "effect", epoch),
    line(at + 31, "settled", epoch),
    line(at + 1_000, "confirmed", epoch),
    line(at + 2_900, "began", epoch),
    line(at + 2_990, "effect", epoch),
    line(at + 2_991, "settled", epoch),
  ];
}

function ends(epoch: number, at: number, reason: "moved" | "deadline" = "moved"): Told[] {
  return [
    line(at, "revoked", epoch),
    line(at, "releasing", epoch),
    [at + 3, { what: "over", shard: SHARD, epoch, reason }],
  ];
}

const logOf = (node: string, told: readonly Told[]): ShardLine[] => told.map(([at, news]) => ({ ...news, at, node }));
const judge = (a: readonly Told[], b: readonly Told[] = []) =>
  judgeShards([logOf("a", a), logOf("b", b)], DURATIONS).violations;

const FIRST = term(1, 0);
const SECOND = term(2, 4_100);

describe("the judge of a division", () => {
  it("finds nothing wrong with members that follow one another, and tells how long nobody had an effect", () => {
    const a = logOf("a", [...FIRST, ...ends(1, 3_100, "deadline"), ...term(3, 9_000)]);
    const b = logOf("b", [...SECOND, ...ends(2, 8_000)]);
    const { violations, moves } = judgeShards([a, b], DURATIONS);
    expect(violations).toEqual([]);
    expect(moves).toEqual([
      { shard: SHARD, from: { node: "a", epoch: 1 }, to: { node: "b", epoch: 2 }, gapMs: 4_110 - 2_990 },
      { shard: SHARD, from: { node: "b", epoch: 2 }, to: { node: "a", epoch: 3 }, gapMs: 9_010 - 7_090 },
    ]);
  });

  it("keeps shards apart", () => {
    const other = SECOND.map(([at, news]): Told => [at - 4_000, { ...news, shard: 6 } as ShardNews]);
    expect(judge(FIRST, other)).toEqual([]);
  });

  it("finds an effect after the first one of a later epoch, of a key or of a slot", () => {
    const late = (what: "effect" | "create") =>
      judge([...FIRST, line(4_111, "confirmed", 1), line(4_120, what, 1)], SECOND);
    const found = "shard 5: a had an effect under 1 10 ms after the first one of b under 2";
    expect(late("effect")).toContain(found);
    expect(late("create")).toContain(found);
  });

  it("finds one that is later still", () => {
    const late = [...FIRST, line(9_500, "confirmed", 1), line(9_600, "effect", 1)];
    expect(judge(late, [...SECOND, ...ends(2, 8_000), ...term(3, 9_000)])).toContain(
      "shard 5: a had an effect under 1 590 ms after the first one of b under 3",
    );
  });

  it("finds an epoch that two members had", () => {
    expect(judge(FIRST, term(1, 10_000))).toContain("shard 5: epoch 1 is that of a and b");
  });

  it.each([
    ["a term that begins before the last one is over", [...FIRST, ...term(3, 9_000)], "assigned 3 after assigned 1"],
    ["one that is over and was not revoked", [...FIRST, ...ends(1, 3_100).slice(1)], "over 1 after assigned 1"],
    ["one that is revoked twice", [...FIRST, ...ends(1, 3_100), ...ends(1, 3_200)], "revoked 1 after over 1"],
    ["an epoch that does not rise", [...term(2, 0), ...ends(2, 3_100), ...term(1, 9_000)], "assigned 1 after over 2"],
  ])("finds %s", (_, log, violation) => {
    expect(judge(log)).toContain(`shard 5: a had ${violation}`);
  });

  it("finds an effect past the deadline of who had it, counted from the last renewal", () => {
    expect(judge([...FIRST, line(3_001, "began", 1)])).toEqual([
      "shard 5: a had an effect 1 ms after its deadline under 1",
    ]);
  });

  it("finds an effect after the revocation", () => {
    const log = [...FIRST, ...ends(1, 2_995), line(2_999, "began", 1)];
    expect(judge(log)).toEqual(["shard 5: a had an effect after the revocation under 1"]);
  });

  it("finds what begins while a shard is handed over, and lets go on what had begun", () => {
    const draining = line(2_992, "draining", 1);
    const log = (what: "began" | "effect" | "create") =>
      judge([...FIRST, draining, line(2_995, what, 1), ...(what === "effect" ? [] : [line(2_996, "settled", 1)])]);
    expect(log("began")).toEqual(["shard 5: a began something while it was handed over under 1"]);
    expect(log("effect")).toEqual([]);
    // Of an action that the reconciler had begun.
    expect(log("create")).toEqual([]);
  });

  it("finds a shard that is given up before the work under it has settled", () => {
    const running = line(2_995, "began", 1);
    expect(judge([...FIRST, running, ...ends(1, 2_999)])).toEqual([
      "shard 5: a was revoked before its work had settled under 1",
      "shard 5: a released before its work had settled under 1",
    ]);
    for (const before of [[], [line(2_998, "draining", 1)]])
      expect(judge([...FIRST, ...before, line(2_999, "releasing", 1)])).toEqual([
        "shard 5: a released before its work had settled under 1",
      ]);
    // What is answered too late to be of use has no work.
    expect(judge([line(0, "confirmed", 1), line(2_999, "releasing", 1)])).toEqual([]);
  });

  it("finds who has a shard while the lease before lasts, unless that was given up by then", () => {
    // It was renewed at 1,000.
    const early = term(2, 3_900);
    expect(judge(FIRST, early)).toEqual(["shard 5: b had it under 2 95 ms too early after 1"]);
    expect(judge([...FIRST, ...ends(1, 3_000)], early)).toEqual([]);
    expect(judge([...FIRST, ...ends(1, 3_950, "deadline")], early)).toEqual([
      "shard 5: b had it under 2 95 ms too early after 1",
    ]);
  });

  it("finds a planned move that came before the old holder was told", () => {
    expect(judge([...FIRST, ...ends(1, 4_108)], SECOND)).toEqual([
      "shard 5: b had it under 2 before it was revoked from a under 1",
    ]);
    expect(judge([...FIRST, ...ends(1, 4_108, "deadline")], SECOND)).toEqual([]);
  });

  it("finds a slot that was created under two keys, and lets two members try the same one", () => {
    const create = (at: number, epoch: number, key: string): Told => [
      at,
      { what: "create", shard: SHARD, epoch, id: "web-1", incarnation: 2, key },
    ];
    expect(judge([...FIRST, create(2_995, 1, "k1")], [...SECOND, create(4_120, 2, "k1")])).toEqual([]);
    expect(judge([...FIRST, create(2_995, 1, "k1")], [...SECOND, create(4_120, 2, "k2")])).toEqual([
      "web-1/2 was created under 2 keys",
    ]);
    // Whose epoch could not be told any more has a key, too.
    expect(judge([create(2_995, 0, "k1")], [create(4_120, 0, "k2")])).toEqual(["web-1/2 was created under 2 keys"]);
  });

  it("counts the writes that were refused, those of reconcilers, too", () => {
    const answers = (["write", "late"] as const).flatMap((what) =>
      (["fenced", "applied", "unknown"] as const).map(
        (answer): Told => [5_000, { what, shard: SHARD, epoch: 1, id: `${what} ${answer}`, answer }],
      ),
    );
    const { fenced } = judgeShards([logOf("a", [...FIRST, ...answers])], DURATIONS);
    expect(fenced.map(({ id }) => id)).toEqual(["write fenced", "late fenced"]);
  });
});

describe("the judge of a crash", () => {
  const member: Told = [1_200, { what: "member" }];
  const look = (at: number): Told => [at, { what: "looking" }];
  const recoveries = (a: readonly Told[], b: readonly Told[]) =>
    recoveriesOf([logOf("a", a), logOf("b", b)], "a", DURATIONS);

  it("counts from when both leases of the dead one have lapsed, also where it did not hear of its last renewal", () => {
    const b = [look(4_100), look(4_300), look(4_600), ...term(2, 4_610), look(4_900)];
    const found = (...last: readonly Told[]) => recoveries([member, ...FIRST, ...last], b);
    expect(found()).toEqual([{ shard: SHARD, node: "b", afterMs: 410, looks: 2 }]);
    expect(found(line(1_500, "renewing", 1))).toEqual([{ shard: SHARD, node: "b", afterMs: 110, looks: 1 }]);
    expect(found([1_400, { what: "staying" }])).toEqual([{ shard: SHARD, node: "b", afterMs: 210, looks: 1 }]);
  });

  it("finds what nobody got, and leaves out what it had given up", () => {
    expect(recoveries([member, ...FIRST], [])).toMatchObject([{ node: "nobody", looks: Infinity }]);
    expect(recoveries([member, ...FIRST, ...ends(1, 3_000)], SECOND)).toEqual([]);
  });
});

describe("the period of looks", () => {
  it("is the median, which a process that once was held up does not change", () => {
    const looks = [0, 300, 620, 5_000, 5_310].map((at): Told => [at, { what: "looking" }]);
    expect(lookPeriodMs(logOf("a", [...looks, ...FIRST]))).toBe(320);
    expect(lookPeriodMs(logOf("a", looks.slice(0, 1)))).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("the judge of what members have written", () => {
  const row = (id: string, shard: number, epoch: number) => ({ id, spec: `${shard} ${epoch}` }) as ResourceRow;
  const write = (id: string, epoch: number, answer: WriteAnswer): Told => [
    0,
    { what: "write", shard: SHARD, id, epoch, answer },
  ];
  const judgeRows = (rows: readonly ResourceRow[], ...writes: readonly Told[]) =>
    judgeWritten([logOf("a", writes)], rows);

  it("finds nothing wrong with what was applied, refused, and not answered, and with lower epochs of other shards", () => {
    const writes = [write("a-1", 7, "applied"), write("a-2", 7, "fenced"), write("a-3", 7, "unknown")];
    expect(judgeRows([row("a-1", SHARD, 7), row("b-1", 6, 2)], ...writes)).toEqual([]);
    expect(judgeRows([row("a-1", SHARD, 7), row("a-3", SHARD, 7), row("b-1", SHARD, 8)], ...writes)).toEqual([]);
  });

  it("finds what was taken after a write to the shard under a later epoch, however much later", () => {
    expect(judgeRows([row("b-1", SHARD, 10), row("a-1", SHARD, 9), row("a-2", SHARD, 9)])).toEqual([
      "the ledger took a-1 of shard 5 under 9 after 10",
      "the ledger took a-2 of shard 5 under 9 after 10",
    ]);
  });

  it("finds what is not there and should be, and the other way round", () => {
    expect(judgeRows([], write("a-1", 1, "applied"))).toEqual(["a-1 was applied and is not in the ledger"]);
    expect(judgeRows([row("a-1", SHARD, 1)], write("a-1", 1, "fenced"))).toEqual([
      "a-1 was fenced and is in the ledger",
    ]);
    expect(judgeRows([], write("a-1", 1, "conflict"))).toEqual(["a-1 was refused for something else than its epoch"]);
  });
});
