import type { EvenkeelEvent } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { type Clock, sleepOn } from "../../src/clock.ts";
import { rendezvous } from "../../src/coordination/rendezvous.ts";
import { ShardCoordinator } from "../../src/coordination/shard-coordinator.ts";
import type { ShardCoordinatorOptions } from "../../src/coordination/shard-settings.ts";
import type { LeaseStore, LedgerStore } from "../../src/store.ts";

/** The clock and the event loop of one process. */
export interface ProcessClock extends Clock {
  /** Sets this process's wall clock by so much, forward or back. */
  jump(ms: number): void;
  /** From now on no timer fires and no answer is heard, as when the event loop is held up; time goes on. */
  freeze(): void;
  /** What was due meanwhile happens now. */
  thaw(): void;
  readonly isFrozen: boolean;
  /** Resolves at once, or at {@link thaw}. */
  whenAwake(): Promise<void>;
}

/** A process whose time goes with that of all others. */
export function processClock(all: ManualClock): ProcessClock {
  let wallMs = 0;
  let isFrozen = false;
  const waiting = new Set<() => void>();
  const whenAwake = (fire: () => void): void => {
    if (isFrozen) waiting.add(fire);
    else fire();
  };
  const clock: ProcessClock = {
    now: () => all.now() + wallMs,
    monotonic: () => all.monotonic(),
    sleep: (ms, signal) => sleepOn(clock, ms, signal),
    setTimer: (ms, fire) => {
      const fireOnce = (): void => fire();
      const timer = all.setTimer(ms, () => whenAwake(fireOnce));
      return {
        clear: () => {
          timer.clear();
          waiting.delete(fireOnce);
        },
      };
    },
    jump: (ms) => {
      wallMs += ms;
    },
    freeze: () => {
      isFrozen = true;
    },
    thaw: () => {
      isFrozen = false;
      for (const fire of waiting) {
        waiting.delete(fire);
        fire();
      }
    },
    get isFrozen() {
      return isFrozen;
    },
    whenAwake: () => new Promise(whenAwake),
  };
  return clock;
}

/** A store as a process has it whose event loop is held up now and then: answers are heard after that. */
export function storeOf(process: ProcessClock, store: LedgerStore): LedgerStore {
  const heard = <Args extends unknown[], T>(ask: (...args: Args) => Promise<T>) => {
    return (...args: Args): Promise<T> => ask(...args).finally(() => process.whenAwake());
  };
  const { acquire, renew, release, get, list } = store.leases;
  const leases: LeaseStore = {
    acquire: heard(acquire),
    renew: heard(renew),
    release: heard(release),
    get: heard(get),
    list: heard(list),
  };
  return { ...store, leases };
}

const clocks: ManualClock[] = [];
const overlaps: unknown[] = [];

// Whatever a test did, no timer may be left, and no shard may have been two members' at any call of the store.
afterEach(() => {
  expect(overlaps.splice(0)).toEqual([]);
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** Processes that divide "web" into 256 shards over one memory store, on one clock that stands still. */
export function setUpDivision() {
  const clock = new ManualClock();
  clocks.push(clock);
  const ledger = memoryStore({ clock });
  const members: DivisionMember[] = [];

  /** One process: its own network, clock and chance; `log` has its callbacks in their order. */
  function member(options: Partial<ShardCoordinatorOptions> = {}, plan: FaultPlan = {}): DivisionMember {
    const made = members.length + 1;
    const { member: id = `node-${made}`, name = "web" } = options;
    const network = new Partition();
    const calls = new CallLog();
    const ownClock = processClock(clock);
    const log: string[] = [];
    const events: EvenkeelEvent[] = [];
    const onCall: FaultPlan["onCall"] = (call) => {
      calls.onCall(call);
      plan.onCall?.(call);
      try {
        exclusive(members.filter(({ division }) => division === name));
      } catch (error) {
        overlaps.push(error);
      }
    };
    const faulty = faultyStore(ledger, { clock, partition: network, ...plan, onCall });
    const coordinator = new ShardCoordinator({
      store: storeOf(ownClock, faulty),
      name,
      clock: ownClock,
      random: seededRandom(made),
      onEvent: (event) => void events.push(event),
      ...options,
      member: id,
      onAssigned: (shard, epoch, held) => {
        log.push(`assigned ${shard} ${epoch}`);
        return options.onAssigned?.(shard, epoch, held);
      },
      onRevoked: (shard) => {
        log.push(`revoked ${shard}`);
        return options.onRevoked?.(shard);
      },
    });
    const process = { id, division: name, coordinator, network, calls, clock: ownClock, log, events };
    members.push(process);
    return process;
  }

  /** Starts so many members, and lets them find each other. */
  async function running(count: number, options: Partial<ShardCoordinatorOptions> = {}): Promise<DivisionMember[]> {
    const group = Array.from({ length: count }, () => member(options));
    for (const { coordinator } of group) coordinator.start();
    await clock.advance(10_000);
    return group;
  }

  /** Heals what is cut or frozen, stops all, and lets the time pass that hung calls may take for that. */
  async function stopAll(): Promise<void> {
    for (const { network, clock: own } of members) {
      network.heal();
      own.thaw();
    }
    const stopped = Promise.all(members.map(({ coordinator }) => coordinator.stop()));
    await clock.advance(20_000);
    await stopped;
  }

  return { clock, ledger, member, members, running, stopAll };
}

export interface DivisionMember {
  readonly id: string;
  readonly division: string;
  readonly coordinator: ShardCoordinator;
  readonly network: Partition;
  readonly calls: CallLog;
  readonly clock: ProcessClock;
  readonly log: string[];
  readonly events: EvenkeelEvent[];
}

/** No shard is open at two of them, at this instant. @returns who owns what. */
export function exclusive(members: readonly Pick<DivisionMember, "id" | "coordinator">[]): Map<number, string> {
  const owners = new Map<number, string>();
  for (const { id, coordinator } of members)
    for (const shard of coordinator.ownedShards()) {
      const other = owners.get(shard);
      if (other !== undefined) throw new Error(`Both ${other} and ${id} own shard ${shard}.`);
      owners.set(shard, id);
    }
  return owners;
}

/** Where each of the shards belongs among these. */
export function placesAmong(
  members: readonly (string | { readonly id: string; readonly weight: number })[],
  shards = 256,
): Map<number, string> {
  const places = new Map<number, string>();
  for (let shard = 0; shard < shards; shard += 1) {
    const owner = rendezvous(String(shard), members);
    if (owner !== undefined) places.set(shard, owner);
  }
  return places;
}

/** In the order of the shards, as two maps are compared. */
export function inOrder(owners: ReadonlyMap<number, string>): [number, string][] {
  return [...owners].sort(([a], [b]) => a - b);
}

/** A key of each shard. */
export function keysOf(coordinator: Pick<ShardCoordinator, "shardOf">, shards: number): string[] {
  const keys: string[] = [];
  for (let n = 0, found = 0; found < shards; n += 1) {
    const shard = coordinator.shardOf(`key-${n}`);
    if (keys[shard] !== undefined) continue;
    keys[shard] = `key-${n}`;
    found += 1;
  }
  return keys;
}

/** A key of this shard. */
export function keyOf(coordinator: Pick<ShardCoordinator, "shardOf">, shard: number): string {
  for (let n = 0; ; n += 1) if (coordinator.shardOf(`key-${n}`) === shard) return `key-${n}`;
}

/** `shard_revoked 3 7 moved`: the events of shards and members, each in short. */
export function toldOf(events: readonly EvenkeelEvent[]): string[] {
  return events.map((event) => {
    if (event.type === "shard_assigned") return `${event.type} ${event.shard} ${event.epoch}`;
    if (event.type === "shard_revoked") return `${event.type} ${event.shard} ${event.epoch} ${event.reason}`;
    if (event.type === "members_changed") return `${event.type} ${event.members.map(({ id }) => id).join(" ")}`.trim();
    if (event.type === "shard_error") return `${event.type} ${event.of} ${event.shard ?? ""}`.trim();
    return event.type;
  });
}
