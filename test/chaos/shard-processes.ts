import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it, type TestContext } from "vitest";
import { buildWorker } from "../support/built-worker.ts";
import { machineTime } from "../support/election-lines.ts";
import { SHARDS, type ShardLine } from "../support/shard-lines.ts";
import type { ShardNodeSettings } from "../support/shard-node.ts";
import { type Epochs, type ShardNode, shardsOf } from "../support/shard-nodes.ts";
import { until } from "../support/until.ts";
import { endWorkers } from "../support/workers.ts";
import type { Outage } from "./election-processes.ts";
import { setUpDivision } from "./shard-division.ts";
import { lookPeriodMs, recoveriesOf } from "./shard-log.ts";

const QUICK: ShardNodeSettings = {
  leaseDurationMs: 3_000,
  renewDeadlineMs: 2_000,
  retryPeriodMs: 300,
  actionTimeoutMs: 3_000,
};
/** A write that was decided on before it stood still for three leases is still worth sending. */
const STALLED: ShardNodeSettings = { ...QUICK, actionTimeoutMs: 20_000 };
/** Those to whom nothing happens keep what they have, however busy the machine is, and where it stands still for some seconds. */
const STEADY: ShardNodeSettings = { ...QUICK, leaseDurationMs: 9_000, renewDeadlineMs: 8_000 };
/** Longer than the test's patience, so that nothing moves because a lease lapsed. A release has as long as from one try to the next. */
const LONG: ShardNodeSettings = { ...QUICK, leaseDurationMs: 90_000, renewDeadlineMs: 60_000, retryPeriodMs: 2_000 };
/** The one in which a last renewal arrived late, the one that came too early by a moment, and the one that got it. */
const LOOKS_AT_MOST = 3;
/** On a busy machine half of all looks come at least as soon. */
const SLOWEST_PERIODS = 5;

/** How a member comes to stand still between its decision to write and the write. */
const STALLS = [
  {
    name: "is stopped by a signal for three leases",
    until: () => "stopped" as const,
    begin: (node: ShardNode) => node.kill("SIGSTOP"),
    end: (node: ShardNode) => node.kill("SIGCONT"),
  },
  {
    name: "has its event loop blocked for three leases",
    until: (file: string) => ({ file }),
    begin: () => {},
    end: (_: ShardNode, file: string) => writeFileSync(file, ""),
  },
];

/**
 * What becomes of a member to which something happens, among three processes that divide shards and slots on one ledger: the same on every
 * engine.
 *
 * @param newLedger - the URL of an empty ledger, see `openLedger`.
 * @param newOutage - of the ledger with this URL, for the first of the processes.
 */
export function describeShardProcesses(
  newLedger: () => Promise<string>,
  newOutage: (url: string) => Promise<Outage>,
): void {
  let program: string;

  beforeAll(async () => {
    program = await buildWorker("shard-node");
  });
  afterAll(endWorkers);

  async function setUp(test: TestContext, settings: ShardNodeSettings) {
    const url = await newLedger();
    return setUpDivision(test, { program, url, newOutage, settings });
  }

  // All at once, the longest first.
  for (const stall of STALLS)
    it.concurrent(`that ${stall.name} has no more effects, its writes are refused and counted, and it gets its shards back`, async (test) => {
      const { nodes, takePart, untilDivided, file, finish } = await setUp(test, STALLED);
      const [a, b, c] = nodes as [ShardNode, ShardNode, ShardNode];
      await takePart(a, b, c);
      await untilDivided(nodes);
      // The one with the most slots.
      await b.tell({ do: "hold", until: stall.until(file("go")) });
      await until("it is about to write", () => b.lines().at(-1)?.what === "holding");
      const old = b.holds();
      const before = b.lines().length;
      stall.begin(b);
      const begun = machineTime();
      const taken = await untilDivided([a, c]);
      expectAbove(taken, old);
      await sleep(Math.max(0, begun + 3 * STALLED.leaseDurationMs - machineTime()));
      stall.end(b, file("go"));

      const afterwards = (): readonly ShardLine[] => b.lines().slice(before);
      const isOwn = (line: ShardLine): boolean => line.what === "write" && line.id === "b-late";
      await until("its writes are answered", () =>
        [isOwn, isLate].every((isMeant) => afterwards().some((line) => isMeant(line))),
      );
      expect(afterwards().find(({ what }) => what === "resumed")).toMatchObject({ holds: false });
      expect(afterwards().find(isOwn)).toMatchObject({ answer: "fenced" });
      const late = afterwards().filter(isLate);
      expect(late.filter(({ answer }) => answer !== "fenced")).toEqual([]);
      await until("they are counted", async () => (await b.tell<number>({ do: "fenced" })) >= late.length);

      const back = await untilDivided(nodes);
      expectAbove(only(back, shardsOf("b", ["a", "b", "c"])), taken);
      const { fenced } = await finish(nodes);
      // Those that it had begun before are its own, too.
      expect(fenced.filter((line) => line.node !== "b" || line.epoch !== old.get(line.shard))).toEqual([]);
      const acts = afterwards().filter(({ what }) => ["began", "effect", "create", "terminate"].includes(what));
      const underOld = acts.filter((line) => "epoch" in line && line.epoch <= (taken.get(line.shard) ?? 0));
      expect(underOld.filter((line) => "epoch" in line && line.epoch > 0)).toEqual([]);
      expect(acts.length).toBeGreaterThan(0);
    });

  it.concurrent("that is stopped wherever it happens to be is followed, three times over", async (test) => {
    const { nodes, takePart, untilDivided, finish } = await setUp(test, QUICK);
    await takePart(...nodes);
    for (const node of nodes) {
      const before = await untilDivided(nodes);
      node.kill("SIGSTOP");
      // One that is stopped in a transaction on SQLite keeps the others from their shards, too.
      await sleep(1.25 * QUICK.leaseDurationMs);
      node.kill("SIGCONT");
      const had = shardsOf(node.name, ["a", "b", "c"]);
      await until("it has lost its shards", () =>
        had.every((shard) => node.lines().some((line) => line.what === "over" && line.epoch === before.get(shard))),
      );
    }
    await untilDivided(nodes);
    const { moves } = await finish(nodes);
    expect(moves.length).toBeGreaterThanOrEqual(SHARDS);
  });

  it.concurrent("that is cut off from the ledger gives its shards up by the deadline, is refused later, and gets them back", async (test) => {
    const { nodes, takePart, untilDivided, outage, finish } = await setUp(test, STEADY);
    const [a, b, c] = nodes as [ShardNode, ShardNode, ShardNode];
    await takePart(a, b, c);
    const first = await untilDivided(nodes);
    const old = only(first, shardsOf("a", ["a", "b", "c"]));
    outage.begin();
    const begun = machineTime();
    const cut = outage.of === "leader" ? [a] : nodes;
    await until("they are given up", () => cut.every((node) => node.holds().size === 0));
    expect(lossesOf(first, ...cut).filter(({ reason }) => reason !== "deadline")).toEqual([]);
    expect(lossesOf(first, a)).toHaveLength(old.size);
    // Not before: a renewal that hangs changes nothing by itself. The judge sees to it that there are none after the deadline.
    expect(a.lines().some(({ what, at }) => what === "began" && at > begun)).toBe(true);
    if (outage.of === "leader") {
      const taken = await untilDivided([b, c]);
      expectAbove(only(taken, [...old.keys()]), old);
      // What was theirs stayed theirs, under the same epochs.
      expect(lossesOf(first, b, c)).toEqual([]);
    }
    await outage.end();
    const back = await untilDivided(nodes);
    expectAbove(only(back, [...old.keys()]), old);
    for (const [shard, epoch] of old)
      await until(
        `a write to shard ${shard} of then is refused`,
        async () => (await a.tell({ do: "write", shard, epoch })) === "fenced",
      );
    const { fenced } = await finish(nodes);
    expect(fenced.length).toBeGreaterThanOrEqual(old.size);
    if (outage.of === "leader")
      expect(fenced.filter((line) => line.node !== "a" || line.epoch !== old.get(line.shard))).toEqual([]);
  });

  it.concurrent("that is killed loses its shards when their leases have lapsed, and nobody else loses any", async (test) => {
    const { nodes, takePart, untilDivided, finish } = await setUp(test, STEADY);
    const [a, b, c] = nodes as [ShardNode, ShardNode, ShardNode];
    await takePart(a, b, c);
    const before = await untilDivided(nodes);
    const had = shardsOf("b", ["a", "b", "c"]);
    b.kill("SIGKILL");
    await b.ended;
    const after = await untilDivided([a, c]);
    expect(movedBetween(before, after)).toEqual(had);
    expect(lossesOf(before, a, c)).toEqual([]);

    const { logs } = await finish([a, c]);
    const recoveries = recoveriesOf(logs, "b", STEADY);
    await test.annotate(
      `the last one ${Math.max(...recoveries.map(({ afterMs }) => afterMs)).toFixed(1)} ms after it was free`,
    );
    expect(recoveries.map(({ shard }) => shard).sort((one, other) => one - other)).toEqual(had);
    expect(recoveries.filter(({ looks }) => looks > LOOKS_AT_MOST)).toEqual([]);
    const periods = [a, c].map((node) => lookPeriodMs(node.lines()));
    expect(periods.filter((ms) => ms > SLOWEST_PERIODS * STEADY.retryPeriodMs)).toEqual([]);
  });

  it.concurrent("that comes third gets the shards that are its own, and hands them back when it is told to end and what runs has settled", async (test) => {
    const { nodes, takePart, untilDivided, stop, finish } = await setUp(test, LONG);
    const [a, b, c] = nodes as [ShardNode, ShardNode, ShardNode];
    await takePart(a, b);
    const two = await untilDivided([a, b]);
    await takePart(c);
    const three = await untilDivided(nodes);
    const own = shardsOf("c", ["a", "b", "c"]);
    expect(own.length).toBeGreaterThan(0);
    expect(movedBetween(two, three)).toEqual(own);

    expect(await stop([c])).toEqual([0]);
    const again = await untilDivided([a, b]);
    expect(movedBetween(three, again)).toEqual(own);
    const leaving = c.lines().findIndex(({ what }) => what === "leaving");
    const lastLines = c.lines().slice(leaving);
    // It still acts while it drains.
    expect(lastLines.some(({ what }) => what === "effect")).toBe(true);
    const ends = lastLines.filter((line) => line.what === "over");
    expect(ends.map(({ shard }) => shard).sort((one, other) => one - other)).toEqual(own);
    expect(ends.filter(({ reason }) => reason !== "stopped")).toEqual([]);

    const { fenced, moves } = await finish([a, b]);
    expect(fenced).toEqual([]);
    // Each once to the third one and once back. What the last two do when they are told to end comes later.
    const isPlanned = (shard: number, epoch: number): boolean =>
      epoch > (two.get(shard) ?? 0) && epoch <= (again.get(shard) ?? 0);
    const planned = moves.filter(({ shard, to }) => isPlanned(shard, to.epoch));
    expect(planned.map(({ shard }) => shard).sort((one, other) => one - other)).toEqual(
      own.flatMap((shard) => [shard, shard]),
    );
    expect(planned.filter(({ from, to }) => (from.node === "c") === (to.node === "c"))).toEqual([]);
  });
}

/** Those under another epoch than before, in order. */
function movedBetween(before: Epochs, after: Epochs): number[] {
  expect([before.size, after.size]).toEqual([SHARDS, SHARDS]);
  return [...after.keys()].filter((shard) => before.get(shard) !== after.get(shard)).sort((a, b) => a - b);
}

/** How these ceased to hold shards under these epochs. */
function lossesOf(epochs: Epochs, ...nodes: readonly ShardNode[]) {
  const ends = nodes.flatMap((node) => node.lines()).filter((line) => line.what === "over");
  return ends.filter(({ shard, epoch }) => epochs.get(shard) === epoch);
}

function expectAbove(epochs: Epochs, before: Epochs): void {
  for (const [shard, epoch] of before)
    if (epochs.has(shard)) expect(epochs.get(shard), `the epoch of shard ${shard}`).toBeGreaterThan(epoch);
}

function only(epochs: Epochs, shards: readonly number[]): Epochs {
  return new Map(shards.map((shard) => [shard, epochs.get(shard) ?? 0]));
}

/** Of the reconciler that stood still before it. */
function isLate(line: ShardLine): line is ShardLine & { what: "late" } {
  return line.what === "late";
}
