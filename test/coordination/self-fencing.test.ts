import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { Stopwatch } from "../../src/clock.ts";
import { LeaseTerm } from "../../src/coordination/lease-term.ts";
import { nodeClock, setUpElection, stopAll, toldOf } from "./set-up.ts";

const CALL = { timeoutMs: 1_000 };
const HOUR_MS = 3_600_000;

async function setUpLeader(...args: Parameters<ReturnType<typeof setUpElection>["candidate"]>) {
  const election = setUpElection();
  const leader = election.candidate(...args);
  leader.elector.start();
  await election.clock.advance(0);
  return { ...election, leader };
}

describe("a leader whose renewals hang", () => {
  it("leads until renewDeadlineMs after the last one that was confirmed was begun, and no longer", async () => {
    const { clock, leader } = await setUpLeader();
    await clock.advance(5_000);
    leader.network.cut("both");
    // The renewal at 4 s was the last.
    await clock.advance(8_999);
    expect(leader.elector.epoch).toBe(1);
    const { signal } = leader.elector;
    await clock.advance(1);
    expect(leader.elector.isLeader()).toBe(false);
    expect(signal.aborted).toBe(true);
    expect(() => leader.elector.assertLeader()).toThrow(expect.objectContaining({ code: "NOT_LEADER" }));
    expect(toldOf(leader.events)).toContain("leader_stopped 1 deadline");
    await stopAll(clock, leader);
  });

  it("aborts the signal without being asked", async () => {
    const { clock, leader } = await setUpLeader();
    const { signal } = leader.elector;
    leader.network.cut("requests");
    await clock.advance(9_999);
    expect(signal.aborted).toBe(false);
    await clock.advance(1);
    expect(signal.aborted).toBe(true);
    await stopAll(clock, leader);
  });

  it("counts from before a renewal was sent, not from its answer", async () => {
    const late = { on: "leases.renew", nth: 1, fault: { delayMs: 2_400, of: "reply" } } as const;
    const { clock, leader } = await setUpLeader({}, { faults: [late, { on: "leases.renew", fault: "hangBefore" }] });
    // Begun at 2 s, confirmed at 4.4 s.
    await clock.advance(11_999);
    expect(leader.elector.isLeader()).toBe(true);
    await clock.advance(1);
    expect(leader.elector.isLeader()).toBe(false);
    await stopAll(clock, leader);
  });

  it("counts from before the acquisition was sent, too", async () => {
    const late = { on: "leases.acquire", nth: 1, fault: { delayMs: 2_000, of: "reply" } } as const;
    const { clock, leader } = await setUpLeader({}, { faults: [late, { on: "leases.renew", fault: "hangBefore" }] });
    await clock.advance(9_999);
    expect(leader.elector.isLeader()).toBe(true);
    await clock.advance(1);
    expect(leader.elector.isLeader()).toBe(false);
    await stopAll(clock, leader);
  });

  it("is not brought down by one that fails, or by an outage that is shorter than the deadline", async () => {
    const { clock, leader } = await setUpLeader({}, { faults: [{ on: "leases.renew", nth: 2, fault: "lostRequest" }] });
    const { signal } = leader.elector;
    await clock.advance(60_000);
    expect(leader.elector.signal).toBe(signal);
    expect(toldOf(leader.events)).toEqual(["leader_started 1", "leader_observed node-1/1"]);
    await leader.elector.stop();

    const other = await setUpLeader();
    await other.clock.advance(5_000);
    other.leader.network.cut("both");
    await other.clock.advance(7_000);
    other.leader.network.heal();
    await other.clock.advance(60_000);
    expect(other.leader.elector.epoch).toBe(1);
    expect(other.leader.log).toEqual(["leader node-1/1", "start 1"]);
    await other.leader.elector.stop();
  });
});

describe("a leader whose process stood still", () => {
  it("knows it at once, before any timer has fired", async () => {
    const { clock, leader } = await setUpLeader();
    await clock.advance(100);
    const { signal } = leader.elector;
    leader.clock.block(9_899);
    expect(leader.elector.isLeader()).toBe(true);
    leader.clock.block(1);
    expect(leader.elector.signal.aborted).toBe(true);
    expect(signal.aborted).toBe(true);
    expect(leader.elector.epoch).toBeUndefined();
    await leader.elector.stop();
  });

  it("knows it where the monotonic clock stood still as well, as on a suspended machine", async () => {
    const { leader } = await setUpLeader();
    leader.clock.jump(9_999);
    expect(leader.elector.isLeader()).toBe(true);
    leader.clock.jump(1);
    expect(leader.elector.isLeader()).toBe(false);
    await leader.elector.stop();
  });

  it("competes again, and leads with a higher epoch", async () => {
    const { clock, leader } = await setUpLeader();
    leader.clock.block(45_000);
    await clock.advance(5_000);
    expect(leader.elector.epoch).toBe(2);
    expect(leader.log).toEqual(["leader node-1/1", "start 1", "stop 1", "leader node-1/2", "start 2"]);
    await leader.elector.stop();
  });
});

describe("a wall clock that is set on one node", () => {
  it("back by an hour changes nothing, for the leader or for one that waits", async () => {
    const { clock, leader, candidate } = await setUpLeader();
    const waiting = candidate();
    waiting.elector.start();
    await clock.advance(5_000);
    leader.clock.jump(-HOUR_MS);
    waiting.clock.jump(-HOUR_MS);
    await clock.advance(60_000);
    expect(leader.elector.epoch).toBe(1);
    expect(waiting.log).toEqual(["leader node-1/1"]);
    // Nor is the deadline later for it.
    leader.clock.block(10_000);
    expect(leader.elector.isLeader()).toBe(false);
    await Promise.all([leader.elector.stop(), waiting.elector.stop()]);
  });

  it("forward by an hour changes nothing for one that waits", async () => {
    const { clock, leader, candidate } = await setUpLeader();
    const waiting = candidate();
    waiting.elector.start();
    await clock.advance(5_000);
    waiting.clock.jump(HOUR_MS);
    await clock.advance(60_000);
    expect(leader.elector.epoch).toBe(1);
    expect(waiting.elector.isLeader()).toBe(false);
    await Promise.all([leader.elector.stop(), waiting.elector.stop()]);
  });

  it("forward by an hour, which may have been a suspension, is cleared up by a renewal at once, and the term goes on", async () => {
    const { clock, leader, candidate } = await setUpLeader();
    const waiting = candidate();
    waiting.elector.start();
    await clock.advance(5_000);
    const { signal } = leader.elector;
    leader.clock.jump(HOUR_MS);
    expect(leader.elector.isLeader()).toBe(false);
    expect(signal.aborted).toBe(false);
    await clock.advance(0);
    expect(leader.elector.isLeader()).toBe(true);
    await clock.advance(60_000);
    expect(leader.elector.epoch).toBe(1);
    expect(leader.elector.signal).toBe(signal);
    expect(leader.log).toEqual(["leader node-1/1", "start 1"]);
    expect(waiting.log).toEqual(["leader node-1/1"]);
    await Promise.all([leader.elector.stop(), waiting.elector.stop()]);
  });

  it("forward by an hour, where nobody asks, is made good by the next renewal", async () => {
    const { clock, leader } = await setUpLeader();
    leader.clock.jump(HOUR_MS);
    await clock.advance(2_000);
    expect(leader.elector.epoch).toBe(1);
    await leader.elector.stop();
  });

  it("forward, while the store can't be reached, ends the term when the renewal has failed, and asks no more often than in any outage", async () => {
    const { clock, leader } = await setUpLeader();
    const { signal } = leader.elector;
    leader.network.cut("requests");
    leader.clock.jump(HOUR_MS);
    const asked = leader.calls.count("leases.renew");
    for (let second = 0; second < 4; second += 1) {
      expect(leader.elector.isLeader()).toBe(false);
      await clock.advance(1_000);
    }
    // Each try waits for its answer.
    expect(leader.calls.count("leases.renew") - asked).toBeLessThanOrEqual(2);
    // It is not sure for ever: the work hears of it when that renewal has failed.
    expect(signal.aborted).toBe(false);
    await clock.advance(1_000);
    expect(signal.aborted).toBe(true);
    leader.network.heal();
    await clock.advance(5_000);
    expect(leader.elector.epoch).toBe(2);
    await stopAll(clock, leader);
  });

  it("forward by a suspension that was longer than the lease is found out by that renewal, though the time-out is not over", async () => {
    const { clock, ledger, leader } = await setUpLeader();
    const { signal } = leader.elector;
    await clock.advance(1_000);
    leader.clock.jump(HOUR_MS);
    // What went on elsewhere meanwhile.
    await ledger.leases.release({ name: "web", holder: "node-1", epoch: 1 }, CALL);
    await ledger.leases.acquire({ name: "web", holder: "other", nonce: "n", durationMs: 15_000 }, CALL);
    expect(leader.elector.isLeader()).toBe(false);
    await clock.advance(0);
    expect(signal.aborted).toBe(true);
    expect(toldOf(leader.events)).toContain("leader_stopped 1 lost");
    expect(leader.elector.isLeader()).toBe(false);
    await stopAll(clock, leader);
  });
});

describe("a leader whose lease is not its own any more", () => {
  it("is over at the store's word: missing", async () => {
    const { clock, ledger, leader } = await setUpLeader();
    await ledger.leases.release({ name: "web", holder: "node-1", epoch: 1 }, CALL);
    await clock.advance(1_999);
    expect(leader.elector.isLeader()).toBe(true);
    await clock.advance(1);
    expect(leader.elector.isLeader()).toBe(false);
    expect(toldOf(leader.events).at(-1)).toBe("leader_stopped 1 missing");
    await clock.advance(2_400);
    expect(leader.elector.epoch).toBe(2);
    await leader.elector.stop();
  });

  it("is over at the store's word: lost", async () => {
    const { clock, ledger, leader } = await setUpLeader();
    await ledger.leases.release({ name: "web", holder: "node-1", epoch: 1 }, CALL);
    await ledger.leases.acquire({ name: "web", holder: "thief", nonce: "n", durationMs: 15_000 }, CALL);
    await clock.advance(2_000);
    expect(leader.elector.isLeader()).toBe(false);
    expect(toldOf(leader.events).at(-1)).toBe("leader_stopped 1 lost");
    await clock.advance(2_400);
    expect(leader.log.slice(2)).toEqual(["stop 1", "leader thief/2"]);
    await clock.advance(15_000);
    expect(leader.elector.epoch).toBe(3);
    await leader.elector.stop();
  });
});

describe("a term", () => {
  it("that is over is not revived by a renewal which the store granted", async () => {
    const clock = new ManualClock();
    const own = nodeClock(clock);
    const leadership = new LeaseTerm(own, { epoch: 7, since: new Stopwatch(own), forMs: 1_000 });
    const sent = new Stopwatch(own);
    own.block(1_000);
    leadership.confirm(sent, 5_000);
    expect(leadership.isHeld()).toBe(false);
    expect(await leadership.ended).toBe("deadline");
    expect(clock.pendingTimers).toBe(0);
  });

  it("keeps the reason for which it ended first", async () => {
    const clock = new ManualClock();
    const leadership = new LeaseTerm<"stopped">(clock, { epoch: 7, since: new Stopwatch(clock), forMs: 1_000 });
    leadership.drain();
    expect([leadership.signal.aborted, leadership.isHeld()]).toEqual([true, true]);
    leadership.end("stopped");
    leadership.end("lost");
    await clock.advance(10_000);
    expect(await leadership.ended).toBe("stopped");
    expect(clock.pendingTimers).toBe(0);
  });

  it("doesn't end when its timer comes before the moment, because the wall clock went back", async () => {
    const clock = new ManualClock();
    const since = new Stopwatch(clock);
    await clock.set(clock.now() + 500);
    const leadership = new LeaseTerm(clock, { epoch: 7, since, forMs: 1_000 });
    await clock.set(clock.now() - 500);
    await clock.advance(999);
    expect(leadership.isHeld()).toBe(true);
    await clock.advance(1);
    expect(leadership.isHeld()).toBe(false);
  });
});
