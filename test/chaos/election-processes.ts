import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it, type TestContext } from "vitest";
import type { ResourceRow } from "../../src/index.ts";
import { buildWorker } from "../support/built-worker.ts";
import { type ElectionLine, GROUP, machineTime } from "../support/election-lines.ts";
import type { ElectionDurations } from "../support/election-node.ts";
import { type ElectionNode, startElectionNodes } from "../support/election-nodes.ts";
import { openLedger } from "../support/open-ledger.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { endWorkers } from "../support/workers.ts";
import { judgeElection, judgeLedger } from "./election-log.ts";

/** A busy machine may keep a leader waiting for as long as the deadline less the period, and it still leads. */
const DURATIONS: ElectionDurations = { leaseDurationMs: 4_000, renewDeadlineMs: 3_000, retryPeriodMs: 400 };
/** Longer than the test's patience, so that nobody leads because a lease lapsed. A release has as long as from one try to the next. */
const LONG_DURATIONS: ElectionDurations = { leaseDurationMs: 90_000, renewDeadlineMs: 60_000, retryPeriodMs: 2_000 };
const CALL = { timeoutMs: 5_000 };

/** What keeps a leader from its ledger for a while. */
export interface Outage {
  /** On SQLite nobody gets at a locked file; a network can be cut for one alone. */
  readonly of: "leader" | "everybody";
  /** The ledger's URL as the leader has it. */
  readonly url: string;
  begin(): unknown;
  end(): Promise<unknown>;
  /** Gives back what it took. */
  dispose(): Promise<void>;
}

/** How a leader comes to stand still between asking whether it leads and writing to the ledger. */
const STALLS = [
  {
    name: "is stopped by a signal for three leases",
    until: () => "stopped" as const,
    begin: (node: ElectionNode) => node.kill("SIGSTOP"),
    end: (node: ElectionNode) => node.kill("SIGCONT"),
  },
  {
    name: "has its event loop blocked for three leases",
    until: (file: string) => ({ file }),
    begin: () => {},
    end: (_: ElectionNode, file: string) => writeFileSync(file, ""),
  },
];

/** A network that swallows everything between one process and its engine. */
export async function proxiedOutage(url: string): Promise<Outage> {
  const [address = "", prefix = ""] = url.split("#");
  const { hostname, port } = new URL(address);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  return {
    of: "leader",
    url: `${proxy.url(address)}#${prefix}`,
    begin() {
      proxy.blackHole("toServer");
      proxy.blackHole("toClient");
    },
    end: () => proxy.heal(),
    dispose: () => proxy.stop(),
  };
}

/**
 * What becomes of a leader to which something happens, among three processes that compete on one ledger: the same on every engine.
 *
 * @param newLedger - the URL of an empty ledger, see `openLedger`.
 * @param newOutage - of the ledger with this URL.
 */
export function describeElectionProcesses(
  newLedger: () => Promise<string>,
  newOutage: (url: string) => Promise<Outage>,
): void {
  let program: string;

  beforeAll(async () => {
    program = await buildWorker("election-node");
  });
  afterAll(endWorkers);

  async function setUp(test: TestContext, durations = DURATIONS) {
    const url = await newLedger();
    const ledger = await openLedger(url);
    test.onTestFinished(() => ledger.close());
    await ledger.store.leases.get("election", CALL);
    const outage = await newOutage(url);
    test.onTestFinished(() => outage.dispose());
    const election = await startElectionNodes(program, [outage.url, url, url], durations);
    test.onTestFinished(() => election.end());
    const { nodes, stop } = election;
    const compete = (those: readonly ElectionNode[]) => Promise.all(those.map((node) => node.tell({ do: "start" })));

    for (const node of nodes) {
      const before = machineTime();
      const between = await node.tell<number>({ do: "time" });
      expect(before <= between && between <= machineTime(), "all processes read one clock").toBe(true);
    }

    async function rows(): Promise<ResourceRow[]> {
      const found: ResourceRow[] = [];
      for (let cursor: string | undefined; ; ) {
        const request = { group: GROUP, limit: 1_000, ...(cursor === undefined ? {} : { cursor }) };
        const page = await ledger.store.resources.changedSince(request, CALL);
        if (page.rows.length === 0) return found;
        found.push(...page.rows);
        cursor = page.cursor;
      }
    }

    /** Has the rest of the nodes stop, and judges what all of them did. */
    async function finish(running: readonly ElectionNode[]) {
      const codes = await stop(running);
      expect(codes).toEqual(codes.map(() => 0));
      const logs = nodes.map((node) => node.lines());
      const verdict = judgeElection(logs, durations);
      for (const { from, to, gapMs } of verdict.handovers)
        await test.annotate(`${gapMs.toFixed(1)} ms without an effect from epoch ${from} to ${to}`);
      await test.annotate(`${verdict.fenced.length} writes were refused`);
      expect(verdict.violations).toEqual([]);
      expect(judgeLedger(logs, await rows())).toEqual([]);
      return verdict;
    }

    return { ...election, outage, compete, finish };
  }

  const others = (nodes: readonly ElectionNode[], than: ElectionNode) => nodes.filter((node) => node !== than);
  const untilItLeadsAgain = (node: ElectionNode, above: number) =>
    until(`${node.name} leads again`, () => (node.leads() ?? 0) > above);

  // Five at once, the longest first.
  for (const stall of STALLS)
    it.concurrent(`that ${stall.name} has no more effects, its write is refused, and it competes again`, async (test) => {
      const { nodes, compete, untilOneLeads, stop, file, finish } = await setUp(test);
      await compete(nodes);
      const { node, epoch } = await untilOneLeads();
      await node.tell({ do: "hold", until: stall.until(file("go")) });
      await until("it is about to write", () => node.lines().at(-1)?.what === "holding");
      stall.begin(node);
      const begun = machineTime();
      const next = await untilOneLeads(epoch);
      await sleep(Math.max(0, begun + 3 * DURATIONS.leaseDurationMs - machineTime()));
      const before = node.lines().length;
      stall.end(node, file("go"));

      const afterwards = (): readonly ElectionLine[] => node.lines().slice(before);
      await until("its write is answered", () => afterwards().some(({ what }) => what === "write"));
      const late = afterwards().find(({ what }) => what === "write");
      expect(afterwards()[0]).toMatchObject({ what: "resumed", epoch, leads: false });
      expect(late).toMatchObject({ epoch, answer: "fenced" });

      await stop(others(nodes, node));
      await untilItLeadsAgain(node, next.epoch);
      await until("it has effects again", () => afterwards().some(({ what }) => what === "effect"));
      const { fenced } = await finish([node]);
      expect(fenced).toEqual([late]);
      const effects = node.lines().filter((line) => line.what === "effect" && line.at > begun);
      expect(effects.filter((line) => "epoch" in line && line.epoch <= next.epoch)).toEqual([]);
    });

  it.concurrent("that is stopped wherever it happens to be is followed, three times over", async (test) => {
    const { nodes, compete, untilOneLeads, finish } = await setUp(test);
    await compete(nodes);
    let last = 0;
    for (let time = 0; time < 3; time += 1) {
      const { node, epoch } = await untilOneLeads(last);
      node.kill("SIGSTOP");
      // One that is stopped in a transaction on SQLite keeps the others from leading, too.
      await sleep(1.25 * DURATIONS.leaseDurationMs);
      node.kill("SIGCONT");
      last = epoch;
    }
    await untilOneLeads(last);
    const { handovers } = await finish(nodes);
    expect(handovers.length).toBeGreaterThanOrEqual(3);
  });

  it.concurrent("that is cut off from the ledger gives up by its deadline, is refused later, and competes again", async (test) => {
    const { nodes, compete, untilOneLeads, stop, outage, finish } = await setUp(test);
    const [node, ...rest] = nodes as [ElectionNode, ...ElectionNode[]];
    await compete([node]);
    const { epoch } = await untilOneLeads();
    await compete(rest);
    const knows = (line: ElectionLine): boolean => line.what === "observed" && line.epoch === epoch;
    await until("the others follow", () => rest.every((other) => other.lines().some(knows)));

    outage.begin();
    const begun = machineTime();
    const ofTerm = () => node.lines().filter((line) => "epoch" in line && line.epoch === epoch);
    await until("it gives up", () => ofTerm().some(({ what }) => what === "over"));
    expect(ofTerm().find(({ what }) => what === "over")).toMatchObject({ reason: "deadline" });
    // Not before: a renewal that hangs changes nothing by itself. The judge sees to it that there are none after the deadline.
    expect(ofTerm().some(({ what, at }) => what === "effect" && at > begun)).toBe(true);
    if (outage.of === "leader") await untilOneLeads(epoch);
    await outage.end();
    await untilOneLeads(epoch);
    await until("a write of then is refused", async () => (await node.tell({ do: "write", epoch })) === "fenced");

    await stop(rest);
    await untilItLeadsAgain(node, epoch);
    const { fenced } = await finish([node]);
    expect(fenced.length).toBeGreaterThan(0);
    expect(fenced.filter((line) => line.node !== node.name || line.epoch !== epoch)).toEqual([]);
  });

  it.concurrent("that is killed is followed by another one when its lease has lapsed, and not before", async (test) => {
    const { nodes, compete, untilOneLeads, finish } = await setUp(test);
    await compete(nodes);
    const { node, epoch } = await untilOneLeads();
    node.kill("SIGKILL");
    await node.ended;
    const next = await untilOneLeads(epoch);
    const { handovers } = await finish(others(nodes, node));
    const { renewDeadlineMs, leaseDurationMs } = DURATIONS;
    // The judge counts from the last renewal. The last effect may be as much later as the deadline allows.
    const handover = handovers.find(({ to }) => to === next.epoch);
    expect(handover?.gapMs).toBeGreaterThan(leaseDurationMs - renewDeadlineMs);
  });

  it.concurrent("that is told to end releases its lease when its work has settled, and another one leads", async (test) => {
    const { nodes, compete, untilOneLeads, stop, finish } = await setUp(test, LONG_DURATIONS);
    await compete(nodes);
    const { node, epoch } = await untilOneLeads();
    const toldAt = machineTime();
    expect(await stop([node])).toEqual([0]);
    const next = await untilOneLeads(epoch);
    expect(next.node).not.toBe(node);

    const ends = node.lines().filter(({ what }) => ["started", "settled", "releasing", "stopped"].includes(what));
    expect(ends.map(({ what }) => what)).toEqual(["started", "settled", "releasing", "stopped"]);
    // It still leads while it drains.
    expect(node.lines().some((line) => line.what === "effect" && line.at > toldAt)).toBe(true);
    const { fenced } = await finish(others(nodes, node));
    expect(fenced).toEqual([]);
  });
}
