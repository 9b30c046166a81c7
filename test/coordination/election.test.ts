import { describe, expect, it } from "vitest";
import { type Candidate, setUpElection, stopAll, toldOf } from "./set-up.ts";

function leadersOf(candidates: readonly Candidate[]): string[] {
  return candidates.filter(({ elector }) => elector.isLeader()).map(({ identity }) => identity);
}

describe("of several candidates", () => {
  it("one leads, and all are told who", async () => {
    const { clock, candidate } = setUpElection();
    const all = Array.from({ length: 5 }, () => candidate());
    for (const { elector } of all) elector.start();
    await clock.advance(3_000);
    const [leader, ...rest] = leadersOf(all);
    expect(rest).toEqual([]);
    for (const { log, identity } of all) {
      expect(log).toEqual(identity === leader ? [`leader ${leader}/1`, "start 1"] : [`leader ${leader}/1`]);
    }
    await clock.advance(600_000);
    expect(leadersOf(all)).toEqual([leader]);
    await stopAll(clock, ...all);
  });

  it("another leads once the lease of a dead one has lapsed in the store, not before, and not much later", async () => {
    const { clock, candidate } = setUpElection();
    const all = Array.from({ length: 3 }, () => candidate());
    const [first, ...others] = all as [Candidate, Candidate, Candidate];
    first.elector.start();
    await clock.advance(0);
    for (const { elector } of others) elector.start();
    await clock.advance(30_000);
    first.network.cut("both");
    // It renewed last at 30 s.
    await clock.advance(14_999);
    expect(leadersOf(all)).toEqual([]);
    await clock.advance(401);
    expect(leadersOf(others)).toHaveLength(1);
    const [second] = leadersOf(others);
    await clock.advance(2_400);
    for (const { log } of others) expect(log[1]).toBe(`leader ${second}/2`);
    first.network.heal();
    await clock.advance(10_000);
    expect(first.elector.isLeader()).toBe(false);
    expect(first.log.slice(1)).toEqual(["start 1", "stop 1", `leader ${leadersOf(all)[0]}/2`]);
    await stopAll(clock, ...all);
  });

  it("none waits in step with the others: each asks again after one to 1.2 periods", async () => {
    const { clock, candidate } = setUpElection();
    const first = candidate();
    first.elector.start();
    await clock.advance(0);
    const askedAt: number[] = [];
    const onCall = ({ operation }: { operation: string }) => {
      if (operation === "leases.acquire") askedAt.push(clock.monotonic());
    };
    const waiting = candidate({}, { onCall });
    waiting.elector.start();
    await clock.advance(200_000);
    const waits = askedAt.slice(1).map((at, index) => at - (askedAt[index] as number));
    expect(waits.length).toBeGreaterThan(80);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(2_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(2_400);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(300);
    await stopAll(clock, first, waiting);
  });

  it("two of one name are still two", async () => {
    const { clock, candidate } = setUpElection();
    const all = [candidate({ identity: "twin" }), candidate({ identity: "twin" })];
    for (const { elector } of all) elector.start();
    await clock.advance(60_000);
    expect(leadersOf(all)).toHaveLength(1);
    await stopAll(clock, ...all);
  });

  it("each sees a leader that leads again", async () => {
    const { clock, candidate } = setUpElection();
    const all = [candidate(), candidate({ retryPeriodMs: 8_000 })];
    for (const { elector } of all) elector.start();
    await clock.advance(1_000);
    const [first, waiting] = all as [Candidate, Candidate];
    first.clock.block(20_000);
    await clock.advance(9_000);
    expect(first.elector.epoch).toBe(2);
    expect(waiting.log).toEqual(["leader node-1/1", "leader node-1/2"]);
    await stopAll(clock, ...all);
  });
});

describe("a former leader whose lease still stands", () => {
  it("waits for it like the others, and never leads twice with one epoch", async () => {
    const { clock, candidate } = setUpElection();
    const one = candidate(
      {
        onStartedLeading: ({ epoch }) => {
          if (epoch === 1) throw new Error("not now");
        },
      },
      { faults: [{ on: "leases.release", fault: "hangBefore" }] },
    );
    one.elector.start();
    await clock.advance(14_999);
    expect(one.elector.isLeader()).toBe(false);
    expect(one.log).toEqual(["leader node-1/1", "start 1", "stop 1"]);
    await clock.advance(2_400);
    expect(one.elector.epoch).toBe(2);
    await stopAll(clock, one);
  });
});

describe("an acquisition whose answer is lost", () => {
  it("is asked about again at once, and leads with the epoch that it got", async () => {
    const { clock, candidate } = setUpElection();
    const one = candidate({}, { faults: [{ on: "leases.acquire", nth: 1, fault: "lostReply" }] });
    one.elector.start();
    await clock.advance(20);
    expect(one.elector.epoch).toBe(1);
    await one.elector.stop();
  });

  it("does not make the candidate wait for a lease of its own, also when every try was in vain", async () => {
    const { clock, candidate } = setUpElection();
    const one = candidate();
    one.network.cut("replies");
    one.elector.start();
    await clock.advance(6_000);
    expect(toldOf(one.events)).toEqual(["leader_error store"]);
    one.network.heal();
    await clock.advance(4_000);
    expect(one.elector.epoch).toBe(1);
    // Of the lease only so much was left: the deadline was as much earlier until the first renewal.
    await clock.advance(60_000);
    expect(one.elector.epoch).toBe(1);
    await one.elector.stop();
  });

  it("is given back where too little of the lease is left to lead under it", async () => {
    const { clock, candidate } = setUpElection();
    const one = candidate({ retryPeriodMs: 500 });
    one.network.cut("replies");
    one.elector.start();
    await clock.advance(11_000);
    one.network.heal();
    let firstEpoch: number | undefined;
    for (let ms = 0; ms < 6_000 && firstEpoch === undefined; ms += 100) {
      await clock.advance(100);
      firstEpoch = one.elector.epoch;
    }
    expect(firstEpoch).toBe(2);
    expect(clock.monotonic()).toBeLessThan(15_000);
    expect(one.log).toEqual(["leader node-1/2", "start 2"]);
    await one.elector.stop();
  });

  it("is found out when its request arrives late, after others were answered", async () => {
    const { clock, candidate } = setUpElection();
    const first = candidate();
    first.elector.start();
    await clock.advance(0);
    // Sent at 0 s, carried out at 20 s, while all that was asked since was answered.
    const second = candidate({}, { faults: [{ on: "leases.acquire", nth: 1, fault: { duplicateAfterMs: 20_000 } }] });
    second.elector.start();
    await clock.advance(100);
    first.network.cut("both");
    let at = 0;
    while (!second.elector.isLeader() && at < 30_000) {
      await clock.advance(100);
      at += 100;
    }
    expect(at).toBeLessThan(18_000);
    await clock.advance(30_000);
    expect(second.elector.epoch).toBe(2);
    first.network.heal();
    await stopAll(clock, first, second);
  });
});

describe("a store that fails", () => {
  it("is asked again, and each failure is told", async () => {
    const { clock, candidate } = setUpElection();
    const one = candidate();
    one.network.cut("both");
    one.elector.start();
    await clock.advance(30_000);
    expect(one.log).toEqual([]);
    expect(toldOf(one.events).length).toBeGreaterThanOrEqual(4);
    expect(one.events[0]).toMatchObject({ type: "leader_error", of: "store", error: { code: "STORE_UNAVAILABLE" } });
    one.network.heal();
    await clock.advance(10_000);
    expect(one.elector.isLeader()).toBe(true);
    await one.elector.stop();
  });

  it("and refuses for good ends a leadership at its deadline, and no process", async () => {
    const { clock, ledger, candidate } = setUpElection();
    const one = candidate();
    one.elector.start();
    await clock.advance(0);
    await ledger.close();
    await clock.advance(9_999);
    expect(one.elector.isLeader()).toBe(true);
    await clock.advance(1);
    expect(one.elector.isLeader()).toBe(false);
    await clock.advance(60_000);
    await one.elector.stop();
    expect(one.log).toEqual(["leader node-1/1", "start 1", "stop 1"]);
  });
});
