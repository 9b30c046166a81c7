import type { EvenkeelEvent } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type Fault, faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { ShardCoordinator } from "../../src/coordination/shard-coordinator.ts";
import { keysOf, type ProcessClock, placesAmong, processClock, storeOf } from "./shard-set-up.ts";

const SEEDS = 100;
const NAMES = ["a", "b/c", "d%"];
const SHARDS = 6;
const STEPS = 50;
const TIMES = { leaseDurationMs: 1_500, renewDeadlineMs: 1_000, retryPeriodMs: 200 };
const LONGEST_DELAY_MS = 2_500;
/** Longer than whatever was begun under faults can last: a straying request, a call's budget, a callback. */
const AFTERMATH_MS = 3_500;

/** What is known of a shard at one process. */
interface Tenure {
  readonly epoch: number;
  stage: "assigning" | "assigned" | "revoking" | "over";
  working: number;
  /** Somebody else began before it was over. Unless it was lost, nobody can have. */
  isSurpassed: boolean;
}

interface Process {
  readonly name: string;
  readonly weight: number;
  readonly coordinator: ShardCoordinator;
  readonly network: Partition;
  readonly clock: ProcessClock;
  readonly tenures: Map<number, Tenure>;
  isStarted: boolean;
  /** Cut off for good. */
  isDead: boolean;
}

/** What one seed does to a division. @returns what happened in its order, and what was violated. */
async function run(
  seed: number,
): Promise<{ readonly trace: string[]; readonly faults: string[]; readonly tally: Tally }> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const ledger = memoryStore({ clock });
  const trace: string[] = [];
  const faults: string[] = [];
  const tally: Tally = { assigned: 0, worked: 0, lost: 0, moved: 0 };
  const processes: Process[] = [];
  /** The highest epoch of each shard under which somebody owned it, and which was told of. */
  const newest = new Map<number, number>();
  const announced = new Map<number, number>();
  const upTo = (count: number): number => Math.floor(random.float() * count);
  const chance = (probability: number): boolean => random.float() < probability;
  let keys: string[] = [];
  let isCalm = false;

  const note = (entry: string): void => void trace.push(`${clock.monotonic()} ${entry}`);
  const fault = (what: string): void => void faults.push(`${clock.monotonic()} ${what}`);

  /** One key is one process's at a time, at this instant: also while it is handed over. */
  const check = (): void => {
    for (let shard = 0; shard < SHARDS; shard += 1) {
      const key = keys[shard] ?? "";
      const holding = processes.filter(({ coordinator }) => coordinator.epochOf(key) !== undefined);
      if (holding.length > 1) fault(`${holding.map(({ name }) => name).join(" and ")} hold ${shard}`);
      for (const { coordinator, name } of processes) {
        if (!coordinator.owns(key)) continue;
        if (!holding.some((other) => other.coordinator === coordinator))
          fault(`${name} owns ${shard} without an epoch`);
        const epoch = coordinator.epochOf(key) ?? 0;
        if (epoch < (newest.get(shard) ?? 0)) fault(`${name} owns ${shard} under ${epoch}, an old epoch`);
        // It is owned a moment before that is told.
        newest.set(shard, epoch);
      }
    }
  };
  /** Who asks sets off what a passed deadline does: some seeds ask at every call, others seldom. */
  const onCall = seed % 2 === 0 ? check : (): void => {};

  function drawFault(rate: number): Fault | undefined {
    if (isCalm || !chance(rate)) return undefined;
    const simple = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"] as const;
    const delayMs = 1 + upTo(LONGEST_DELAY_MS);
    const drawn = upTo(simple.length + 4);
    if (drawn < simple.length) return simple[drawn];
    if (drawn === simple.length) return { duplicateAfterMs: delayMs };
    return { delayMs, of: chance(0.5) ? "request" : "reply" };
  }

  function makeProcess(name: string, weight: number): Process {
    const network = new Partition();
    const own = processClock(clock);
    const rate = random.float() * 0.3;
    const decide = (): Fault | undefined => drawFault(rate);
    const faulty = faultyStore(ledger, { clock, partition: network, decide, onCall });
    const tenures = new Map<number, Tenure>();
    const coordinator = new ShardCoordinator({
      store: storeOf(own, faulty),
      name: "web",
      member: name,
      weight,
      shards: SHARDS,
      ...TIMES,
      clock: own,
      random: seededRandom(seed * 100 + processes.length),
      onAssigned: async (shard, epoch, { signal }) => {
        const before = tenures.get(shard);
        if (before !== undefined && before.stage !== "over") fault(`${name} assigned ${shard} while ${before.stage}`);
        if (before !== undefined && before.epoch >= epoch) fault(`${name} assigned ${shard} under ${epoch} again`);
        const tenure: Tenure = { epoch, stage: "assigning", working: 0, isSurpassed: false };
        tenures.set(shard, tenure);
        try {
          if (isCalm) return;
          if (chance(0.05)) throw new Error("failed at once");
          if (chance(0.3)) await own.sleep(1 + upTo(400));
          while (!isCalm && !signal.aborted && chance(0.4)) await own.sleep(1 + upTo(900));
          // Some don't listen.
          if (chance(0.1)) await own.sleep(1 + upTo(1_500));
          if (chance(0.05)) throw new Error("failed late");
        } finally {
          tenure.stage = "assigned";
        }
      },
      onRevoked: async (shard) => {
        const tenure = tenures.get(shard);
        if (tenure?.stage !== "assigned") fault(`${name} revoked ${shard} while ${tenure?.stage}`);
        if (tenure === undefined) return;
        if (tenure.working > 0) fault(`${name} revoked ${shard} under work`);
        tenure.stage = "revoking";
        try {
          if (!isCalm && chance(0.2)) await own.sleep(1 + upTo(700));
          if (chance(0.05)) throw new Error("failed to revoke");
        } finally {
          tenure.stage = "over";
          tenure.isSurpassed = newest.get(shard) !== tenure.epoch;
        }
      },
      onEvent: (event) => told(process_, event),
    });
    const process_: Process = {
      name,
      weight,
      coordinator,
      network,
      clock: own,
      tenures,
      isStarted: false,
      isDead: false,
    };
    processes.push(process_);
    if (keys.length === 0) keys = keysOf(coordinator, SHARDS);
    return process_;
  }

  function told({ name, coordinator, tenures }: Process, event: EvenkeelEvent): void {
    if (event.type === "shard_assigned") {
      const { shard, epoch } = event;
      note(`${name} has ${shard} under ${epoch}`);
      tally.assigned += 1;
      if (epoch < (newest.get(shard) ?? 0) || epoch <= (announced.get(shard) ?? 0))
        fault(`${name} got ${shard} under ${epoch} after ${newest.get(shard)}`);
      newest.set(shard, epoch);
      announced.set(shard, epoch);
      check();
    } else if (event.type === "shard_revoked") {
      const { shard, epoch, reason } = event;
      note(`${name} has no longer ${shard} under ${epoch}: ${reason}`);
      const tenure = tenures.get(shard);
      if (tenure?.epoch !== epoch || tenure.stage !== "over" || tenure.working > 0)
        fault(`${name} was told too early that ${shard} is over`);
      const isLost = reason === "deadline" || reason === "lost" || reason === "missing";
      tally[isLost ? "lost" : "moved"] += 1;
      if (!isLost && tenure?.isSurpassed) fault(`${name} handed ${shard} over after another had begun`);
      if (coordinator.owns(keys[shard] ?? "")) fault(`${name} owns ${shard} after it was over`);
    } else note(`${name} ${event.type}`);
  }

  async function work({ coordinator, tenures, clock: own, name }: Process, shard: number): Promise<void> {
    const key = keys[shard] ?? "";
    const isOwned = coordinator.owns(key);
    const listens = chance(0.7);
    const durationMs = 1 + upTo(1_200);
    await coordinator
      .run(key, async ({ signal, epoch, shard: told }) => {
        if (!isOwned || told !== shard) fault(`${name} ran on ${shard}, which it does not own`);
        tally.worked += 1;
        // `onAssigned` is called a microtask after the shard was got.
        await Promise.resolve();
        const tenure = tenures.get(shard);
        if (tenure?.epoch !== epoch) return fault(`${name} works on ${shard} under ${epoch}, not ${tenure?.epoch}`);
        tenure.working += 1;
        await own.sleep(durationMs, listens ? signal : undefined).catch(() => {});
        tenure.working -= 1;
        if (tenure.stage !== "assigning" && tenure.stage !== "assigned") fault(`work outlived ${epoch} of ${shard}`);
        // Unless it was lost, in which case there is no epoch to act under.
        if (newest.get(shard) !== epoch && coordinator.epochOf(key) === epoch)
          fault(`${name} worked on ${shard} under ${epoch} beside ${newest.get(shard)}`);
      })
      .catch((error: { code?: string }) => {
        if (error.code !== "NOT_LEADER") throw error;
        if (isOwned) fault(`${name} may not run on ${shard}, which it owns`);
      });
  }

  const pending: Promise<unknown>[] = [];
  for (const name of NAMES) makeProcess(name, [1, 1, 2, 0.5, 0][upTo(5)] ?? 1);
  for (const each of processes) {
    each.isStarted = true;
    each.coordinator.start();
  }
  for (let step = 0; step < STEPS; step += 1) {
    const at = upTo(processes.length);
    const process_ = processes[at] as Process;
    const { coordinator, network, clock: own, name, weight, isDead } = process_;
    const draw = random.float();
    if (draw < 0.06 && !isDead) network.cut((["requests", "replies", "both"] as const)[upTo(3)] ?? "both");
    else if (draw < 0.18 && !isDead) network.heal();
    else if (draw < 0.21) own.jump((random.float() - 0.5) * 7_200_000);
    else if (draw < 0.24) own.freeze();
    else if (draw < 0.32) own.thaw();
    else if (draw < 0.36) {
      note(`${name} stops`);
      process_.isStarted = false;
      pending.push(coordinator.stop());
    } else if (draw < 0.44) {
      note(`${name} starts`);
      process_.isStarted = true;
      coordinator.start();
    } else if (draw < 0.46 && processes.length < 5) {
      // It begins anew under its name; the process before is dead, or only thought to be.
      if (chance(0.7)) {
        process_.isDead = true;
        network.cut("both");
      }
      const next = makeProcess(name, weight);
      next.isStarted = true;
      next.coordinator.start();
    }
    if (!own.isFrozen) for (let count = upTo(4); count > 0; count -= 1) pending.push(work(process_, upTo(SHARDS)));
    await clock.advance(20 + upTo(400));
    check();
  }

  isCalm = true;
  for (const { network, clock: own, isDead } of processes) {
    own.thaw();
    if (!isDead) network.heal();
  }
  // Where it was only thought to be dead, the one of a name that was there first may be the one that goes on.
  await clock.advance(AFTERMATH_MS);
  for (let part = 0; part < 4; part += 1) {
    await clock.advance((TIMES.leaseDurationMs + 2 * TIMES.retryPeriodMs) / 4);
    check();
  }
  check();
  const live = processes.filter(({ isStarted, isDead }) => isStarted && !isDead);
  const places = placesAmong(
    live.map(({ name, weight }) => ({ id: name, weight })),
    SHARDS,
  );
  for (let shard = 0; shard < SHARDS; shard += 1) {
    const owner = live.find(({ coordinator }) => coordinator.owns(keys[shard] ?? ""))?.name;
    if (owner !== places.get(shard)) fault(`${owner} owns ${shard} in the end, not ${places.get(shard)}`);
  }

  let isOver = false;
  const stopped = Promise.all([...pending, ...processes.map(({ coordinator }) => coordinator.stop())]).finally(() => {
    isOver = true;
  });
  while (!isOver && clock.monotonic() < 60_000) await clock.advance(100);
  if (!isOver) fault("somebody does not stop");
  else await stopped;
  for (const { name, tenures, coordinator } of processes) {
    if (coordinator.ownedShards().length > 0) fault(`${name} owns shards after it stopped`);
    for (const [shard, { stage }] of tenures) if (stage !== "over") fault(`${name} left ${shard} ${stage}`);
  }
  if (clock.pendingTimers > 0) fault(`${clock.pendingTimers} timers are left`);
  return { trace, faults, tally };
}

interface Tally {
  assigned: number;
  worked: number;
  lost: number;
  moved: number;
}

describe("a division under faults", () => {
  it("gives a key to one process at a time, under rising epochs, hands over in order, and is whole again in the end", async () => {
    const total: Tally = { assigned: 0, worked: 0, lost: 0, moved: 0 };
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { trace, faults, tally } = await run(seed);
      expect(faults, `seed ${seed}:\n${trace.join("\n")}`).toEqual([]);
      for (const name of ["assigned", "worked", "lost", "moved"] as const) total[name] += tally[name];
    }
    // All of it has to have happened, and often.
    expect(Math.min(total.assigned, total.worked, total.moved)).toBeGreaterThan(8 * SEEDS);
    expect(total.lost).toBeGreaterThan(2 * SEEDS);
  }, 120_000);

  it("does the same for the same seed", async () => {
    expect((await run(18)).trace).toEqual((await run(18)).trace);
  });
});
