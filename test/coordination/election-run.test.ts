import { memoryStore } from "evenkeel/memory";
import { faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { LeaderElector } from "../../src/coordination/leader-elector.ts";
import type { Random } from "../../src/random.ts";

const NODES = 3;
const STEPS = 150;
const TIMES = { leaseDurationMs: 1_500, renewDeadlineMs: 1_000, retryPeriodMs: 200 };

interface Node {
  readonly elector: LeaderElector;
  readonly network: Partition;
  jumpMs: number;
  /** Terms whose `onStartedLeading` or `onStoppedLeading` came last: `start 3`. */
  last: string;
}

/** What one seed does to three electors and their network. @returns the callbacks in their order, and what was violated. */
async function run(seed: number): Promise<{ readonly trace: string[]; readonly faults: string[] }> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const ledger = memoryStore({ clock });
  const trace: string[] = [];
  const faults: string[] = [];
  const nodes: Node[] = [];
  let newest = 0;
  const upTo = (ms: number): number => Math.floor(random.float() * ms);

  /** I16, at this instant. */
  const check = (): void => {
    const leading = nodes.filter(({ elector }) => elector.isLeader());
    if (leading.length > 1) faults.push(`${leading.length} lead at ${clock.monotonic()}`);
    for (const { elector } of leading) {
      if (elector.epoch !== newest) faults.push(`epoch ${elector.epoch} leads, and ${newest} has begun`);
      if (elector.epoch === undefined) faults.push("a leader without an epoch");
    }
  };

  for (let at = 0; at < NODES; at += 1) nodes.push(makeNode(at));

  function makeNode(at: number): Node {
    const network = new Partition();
    const ownClock: Clock = {
      now: () => clock.now() + node.jumpMs,
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      setTimer: (ms, fire) => clock.setTimer(ms, fire),
    };
    const ownRandom: Random = seededRandom(seed * 10 + at + 1);
    const rate = random.float() * 0.08;
    const store = faultyStore(ledger, {
      clock,
      partition: network,
      random: seededRandom(seed * 10 + 5 + at),
      maxDelayMs: 2_500,
      rates: {
        lostRequest: rate,
        lostReply: rate,
        hangBefore: rate,
        hangAfter: rate,
        duplicate: rate,
        delay: 2 * rate,
      },
      onCall: check,
    });
    const elector = new LeaderElector({
      store,
      name: "web",
      identity: `node-${at}`,
      clock: ownClock,
      random: ownRandom,
      ...TIMES,
      onStartedLeading: async ({ epoch, signal }) => {
        trace.push(`${at} start ${epoch}`);
        if (node.last.startsWith("start")) faults.push(`start ${epoch} after ${node.last}`);
        if (epoch <= newest) faults.push(`epoch ${epoch} after ${newest}`);
        newest = Math.max(newest, epoch);
        node.last = `start ${epoch}`;
        check();
        if (random.float() < 0.1) throw new Error("failed at once");
        while (!signal.aborted && random.float() < 0.8) await clock.sleep(1 + upTo(900));
        // Some don't listen.
        if (random.float() < 0.3) await clock.sleep(1 + upTo(1_500));
        if (random.float() < 0.1) throw new Error("failed late");
      },
      onStoppedLeading: ({ epoch }) => {
        trace.push(`${at} stop ${epoch}`);
        if (node.last !== `start ${epoch}`) faults.push(`stop ${epoch} after ${node.last}`);
        node.last = `stop ${epoch}`;
        check();
      },
      onNewLeader: ({ identity, epoch }) => void trace.push(`${at} sees ${identity}/${epoch}`),
    });
    const node: Node = { elector, network, jumpMs: 0, last: "" };
    elector.start();
    return node;
  }

  const stops: Promise<void>[] = [];
  for (let step = 0; step < STEPS; step += 1) {
    const node = nodes[upTo(NODES)] as Node;
    const draw = random.float();
    if (draw < 0.04) node.network.cut((["requests", "replies", "both"] as const)[upTo(3)] ?? "both");
    else if (draw < 0.12) node.network.heal();
    else if (draw < 0.15) node.jumpMs += (random.float() - 0.5) * 7_200_000;
    else if (draw < 0.17) stops.push(node.elector.stop());
    else if (draw < 0.22) node.elector.start();
    await clock.advance(20 + upTo(300));
    check();
  }

  // Once nothing is in the way, somebody leads.
  for (const { network, elector } of nodes) {
    network.heal();
    elector.start();
  }
  for (let waited = 0; waited < 200 && !nodes.some(({ elector }) => elector.isLeader()); waited += 1)
    await clock.advance(100);
  if (!nodes.some(({ elector }) => elector.isLeader())) faults.push("nobody leads");
  const stopped = Promise.all([...stops, ...nodes.map(({ elector }) => elector.stop())]);
  for (let waited = 0; waited < 40; waited += 1) await clock.advance(1_000);
  await stopped;
  check();
  for (const { last } of nodes) if (last.startsWith("start")) faults.push(`${last} was never stopped`);
  if (clock.pendingTimers > 0) faults.push(`${clock.pendingTimers} timers are left`);
  return { trace, faults };
}

describe("electors under faults", () => {
  it("never lead two at a time, have rising epochs, and call back in order", async () => {
    let terms = 0;
    for (let seed = 1; seed <= 200; seed += 1) {
      const { trace, faults } = await run(seed);
      expect(faults, `seed ${seed}:\n${trace.join("\n")}`).toEqual([]);
      terms += trace.filter((entry) => entry.includes("start")).length;
    }
    expect(terms).toBeGreaterThan(500);
  }, 120_000);

  it("do the same for the same seed", async () => {
    expect((await run(17)).trace).toEqual((await run(17)).trace);
  });
});
