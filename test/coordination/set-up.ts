import type { EvenkeelEvent } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { LeaderElector } from "../../src/coordination/leader-elector.ts";
import type { LeaderElectorOptions } from "../../src/coordination/leader-settings.ts";
import type { LedgerStore } from "../../src/store.ts";

/**
 * How far counts are from being equal: the standard score of their chi-square. For an even hash a normal variate, so that 5
 * is far beyond chance; below is not looked at, since keys in a row may be more even than chance.
 */
export function unevenness(counts: readonly number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
  const freedom = counts.length - 1;
  return (chiSquare - freedom) / Math.sqrt(2 * freedom);
}

/** One machine's clock: the time of all, and a wall clock that can be set on it alone. */
export interface NodeClock extends Clock {
  /** Sets this node's wall clock by so much, forward or back. */
  jump(ms: number): void;
  /** Both of this node's clocks went on by so much while no timer fired, as when its event loop is held up. */
  block(ms: number): void;
}

/** A clock of a node that goes with all others. */
export function nodeClock(all: ManualClock): NodeClock {
  let wallMs = 0;
  let blockedMs = 0;
  return {
    now: () => all.now() + wallMs + blockedMs,
    monotonic: () => all.monotonic() + blockedMs,
    sleep: (ms, signal) => all.sleep(ms, signal),
    setTimer: (ms, fire) => all.setTimer(ms, fire),
    jump: (ms) => {
      wallMs += ms;
    },
    block: (ms) => {
      blockedMs += ms;
    },
  };
}

const clocks: ManualClock[] = [];

// Whatever a test did, no timer may be left.
afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** Candidates for the lead of "web" over one memory store, on one clock that stands still. */
export function setUpElection() {
  const clock = new ManualClock();
  clocks.push(clock);
  const ledger = memoryStore({ clock });
  let made = 0;

  /** One process: its own network, wall clock and chance; `log` has its callbacks in their order. */
  function candidate(options: Partial<LeaderElectorOptions> = {}, plan: FaultPlan = {}) {
    made += 1;
    const identity = options.identity ?? `node-${made}`;
    const network = new Partition();
    const calls = new CallLog();
    const ownClock = nodeClock(clock);
    const log: string[] = [];
    const events: EvenkeelEvent[] = [];
    const store: LedgerStore = faultyStore(ledger, { clock, partition: network, onCall: calls.onCall, ...plan });
    const elector = new LeaderElector({
      store,
      name: "web",
      clock: ownClock,
      random: seededRandom(made),
      onEvent: (event) => events.push(event),
      ...options,
      identity,
      onStartedLeading: (lead) => {
        log.push(`start ${lead.epoch}`);
        return options.onStartedLeading?.(lead);
      },
      onStoppedLeading: (lead) => {
        log.push(`stop ${lead.epoch}`);
        return options.onStoppedLeading?.(lead);
      },
      onNewLeader: (leader) => {
        log.push(`leader ${leader.identity}/${leader.epoch}`);
        return options.onNewLeader?.(leader);
      },
    });
    return { elector, identity, network, calls, clock: ownClock, log, events, store };
  }
  return { clock, ledger, candidate };
}

export type Candidate = ReturnType<ReturnType<typeof setUpElection>["candidate"]>;

/** `leader_stopped deadline`: the events, each in short. */
export function toldOf(events: readonly EvenkeelEvent[]): string[] {
  return events.map((event) => {
    if (event.type === "leader_stopped") return `${event.type} ${event.epoch} ${event.reason}`;
    if (event.type === "leader_started") return `${event.type} ${event.epoch}`;
    if (event.type === "leader_observed") return `${event.type} ${event.leader}/${event.epoch}`;
    return event.type === "leader_error" ? `${event.type} ${event.of}` : event.type;
  });
}

/** A promise that somebody else settles. */
export function deferred() {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((pass, fail) => {
    resolve = pass;
    reject = fail;
  });
  return { promise, resolve, reject };
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Heals what is cut, stops all, and lets the time pass that hung calls may take for that. */
export async function stopAll(clock: ManualClock, ...candidates: readonly Candidate[]): Promise<void> {
  for (const { network } of candidates) network.heal();
  const stopped = Promise.all(candidates.map(({ elector }) => elector.stop()));
  await clock.advance(10_000);
  await stopped;
}
