import { type EvenkeelEvent, fixedThreshold, Reconciler, type ReconcilerOptions, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import type { Clock } from "../../src/clock.ts";
import { jumpHash } from "../../src/coordination/jump-hash.ts";
import { ShardCoordinator } from "../../src/coordination/shard-coordinator.ts";
import type { ShardCoordinatorOptions } from "../../src/coordination/shard-settings.ts";
import type { ApplyRequest, ApplyResult, LedgerStore, ResourceRow } from "../../src/store.ts";
import { openDatabase, temporaryFolder } from "../support/sqlite-files.ts";
import { deferred } from "./set-up.ts";
import { type ProcessClock, placesAmong, processClock, storeOf } from "./shard-set-up.ts";

export const GROUP = "web";
const CALL = { timeoutMs: 1_000 };

const clocks: ManualClock[] = [];
const closing: (() => Promise<void>)[] = [];

// Whatever a test did, no timer may be left, and no file.
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** The ledgers on which the key cases have to hold. */
export const LEDGERS: readonly (readonly [engine: string, open: (clock: Clock) => LedgerStore])[] = [
  ["in memory", (clock) => memoryStore({ clock })],
  ["on SQLite", openSqlite],
];

function openSqlite(clock: Clock): LedgerStore {
  const folder = temporaryFolder();
  const handle = openDatabase(folder.file("ledger.db"));
  const store = sqliteStore(handle, { clock });
  closing.push(async () => {
    await store.close();
    handle.close();
    folder.remove();
  });
  return store;
}

/** A batch that reached the ledger, and what became of it. */
export interface Arrival {
  readonly by: string;
  readonly request: ApplyRequest;
  readonly result: ApplyResult;
}

/** One call of a callback: `create web-0/1`, and by whom. */
export interface Action {
  readonly by: string;
  readonly what: string;
  readonly key: string;
}

export interface NodeOptions {
  readonly coordinator?: Partial<ShardCoordinatorOptions>;
  readonly reconciler?: Partial<ReconcilerOptions>;
  readonly faults?: FaultPlan;
}

export interface ShardedNode {
  readonly id: string;
  readonly coordinator: ShardCoordinator;
  readonly reconciler: Reconciler;
  readonly network: Partition;
  readonly clock: ProcessClock;
  readonly calls: CallLog;
  readonly events: EvenkeelEvent[];
  /** The batches of this node that reached the ledger. */
  arrivals(): Arrival[];
  /** Holds the first batch that is meant back on its way, until it is let go: it was decided on, and arrives late. */
  holdBack(isMeant: (request: ApplyRequest) => boolean): { readonly held: Promise<void>; release(): void };
  /** Of the counter of this name. */
  counted(name: string, labels?: Record<string, string>): number;
}

/** Processes with a coordinator and a reconciler of "web" each, over one ledger, on one clock that stands still. */
export function setUpSharded({
  shards = 16,
  open = (clock) => memoryStore({ clock }),
}: {
  readonly shards?: number;
  readonly open?: (clock: Clock) => LedgerStore;
} = {}) {
  const clock = new ManualClock();
  clocks.push(clock);
  const ledger = open(clock);
  const arrivals: Arrival[] = [];
  const actions: Action[] = [];
  const nodes: ShardedNode[] = [];

  function node(id: string, options: NodeOptions = {}): ShardedNode {
    const network = new Partition();
    const own = processClock(clock);
    const calls = new CallLog();
    const events: EvenkeelEvent[] = [];
    const holds: { isMeant(request: ApplyRequest): boolean; onHeld(): void; readonly released: Promise<void> }[] = [];
    const noted: LedgerStore = {
      ...ledger,
      resources: {
        ...ledger.resources,
        apply: async (request, call) => {
          const at = holds.findIndex(({ isMeant }) => isMeant(request));
          const [hold] = at < 0 ? [] : holds.splice(at, 1);
          hold?.onHeld();
          await hold?.released;
          const result = await ledger.resources.apply(request, call);
          arrivals.push({ by: id, request, result });
          return result;
        },
      },
    };
    const faulty = faultyStore(noted, {
      clock,
      partition: network,
      ...options.faults,
      onCall: (call) => {
        calls.onCall(call);
        options.faults?.onCall?.(call);
      },
    });
    const store = heardBy(own, faulty);
    const random = seededRandom(nodes.length + 1);
    const onEvent = (event: EvenkeelEvent): void => void events.push(event);
    const coordinator = new ShardCoordinator({
      store,
      name: GROUP,
      shards,
      clock: own,
      random,
      onEvent,
      ...options.coordinator,
      member: id,
    });
    const { create = async () => {}, terminate = async () => {}, ...others } = options.reconciler ?? {};
    const reconciler = new Reconciler({
      name: GROUP,
      store,
      clock: own,
      random,
      onEvent,
      shards: coordinator,
      // Nobody beats, and nobody is silent.
      staleness: fixedThreshold({ staleAfterMs: 1e9, startupGraceMs: 1e9 }),
      ...others,
      create: (resource, ctx) => {
        actions.push({ by: id, what: `create ${resource.id}/${resource.incarnation}`, key: ctx.idempotencyKey });
        return create(resource, ctx);
      },
      terminate: (resource, ctx) => {
        actions.push({ by: id, what: `terminate ${resource.id}/${resource.incarnation}`, key: ctx.idempotencyKey });
        return terminate(resource, ctx);
      },
    });
    const made: ShardedNode = {
      id,
      coordinator,
      reconciler,
      network,
      clock: own,
      calls,
      events,
      arrivals: () => arrivals.filter(({ by }) => by === id),
      holdBack: (isMeant) => {
        const { promise: released, resolve: release } = deferred();
        const { promise: held, resolve: onHeld } = deferred();
        holds.push({ isMeant, onHeld, released });
        return { held, release };
      },
      counted: (name, labels = {}) => {
        const samples = reconciler.metrics().filter((sample) => sample.name === name && "value" in sample);
        const meant = samples.find((sample) => Object.entries(labels).every(([key, is]) => sample.labels[key] === is));
        return meant !== undefined && "value" in meant ? meant.value : 0;
      },
    };
    nodes.push(made);
    return made;
  }

  /** Starts the coordinators of these, and lets them find each other. */
  async function divide(...members: readonly ShardedNode[]): Promise<void> {
    for (const { coordinator } of members) coordinator.start();
    await clock.advance(10_000);
  }

  /** Lets time go on until this member owns the slot. */
  async function untilItOwns({ coordinator }: ShardedNode, id: string): Promise<void> {
    for (let ms = 0; !coordinator.owns(id); ms += 100) {
      if (ms > 60_000) throw new Error(`It never owned ${id}.`);
      await clock.advance(100);
    }
  }

  /** A slot that is this member's, once these are there. */
  function idAt(owner: string, ...members: readonly string[]): string {
    const places = placesAmong(members, shards);
    for (let n = 0; ; n += 1) if (places.get(jumpHash(`web-${n}`, shards)) === owner) return `web-${n}`;
  }

  /** What the ledger has of a slot, of its newest incarnation. */
  const row = (id: string): Promise<ResourceRow | undefined> => ledger.resources.get(GROUP, id, CALL);

  /** Heals what is cut or frozen, stops all, and lets the time pass that hung calls may take for that. */
  async function stopAll(): Promise<void> {
    for (const { network, clock: own } of nodes) {
      network.heal();
      own.thaw();
    }
    const stopped = Promise.all(
      nodes.map(async ({ reconciler, coordinator }) => {
        await reconciler.stop({ graceMs: 0 });
        await coordinator.stop();
      }),
    );
    await clock.advance(60_000);
    await stopped;
  }

  const resources = new ResourceLedger({ store: ledger, group: GROUP, clock });
  return { clock, ledger, resources, arrivals, actions, nodes, node, divide, untilItOwns, idAt, row, stopAll };
}

/** A store as a process has it that may be suspended: what is answered meanwhile is heard after that. */
function heardBy(process: ProcessClock, store: LedgerStore): LedgerStore {
  const { resources } = store;
  const heard = <Args extends unknown[], T>(ask: (...args: Args) => Promise<T>) => {
    return (...args: Args): Promise<T> => ask(...args).finally(() => process.whenAwake());
  };
  return {
    ...storeOf(process, store),
    resources: {
      getDesired: heard(resources.getDesired),
      setDesired: heard(resources.setDesired),
      apply: heard(resources.apply),
      heartbeat: heard(resources.heartbeat),
      get: heard(resources.get),
      list: heard(resources.list),
      changedSince: heard(resources.changedSince),
      staleBefore: heard(resources.staleBefore),
      purge: heard(resources.purge),
      listGroups: heard(resources.listGroups),
    },
  };
}

/** What of a batch that arrived was done: `create web-0 shard 3: fenced`. */
export function fatesOf({ request, result }: Arrival): string[] {
  return request.writes.map(({ kind, id, state, fence }, at) => {
    const answer = result.status === "fenced" ? "fenced" : result.results[at]?.status;
    return `${kind} ${id} ${state} ${fence}: ${answer}`;
  });
}
