import type { Fence } from "../store.ts";

/** Says whether this process leads; a `LeaderElector` is one. */
export interface LeaderGate {
  isLeader(): boolean;
  /** Of the present leadership; what the ledger fences by. */
  readonly epoch: number | undefined;
  /** Aborted when the present leadership ends. */
  readonly signal: AbortSignal;
}

/** Says which slots are this process's; a `ShardCoordinator` is one. */
export interface ShardGate {
  owns(id: string): boolean;
  /** Of the slot's shard, as long as that is held; what the ledger fences by. */
  epochOf(id: string): number | undefined;
  /** The shard of a slot. Defaults to a shard for each slot, which costs the ledger an entry for each. */
  shardOf?(id: string): number | string;
  /** The shards that are ours and their epochs, for the ledger to know before anything is read. Defaults to what each write says. */
  held?(): Iterable<{ readonly shard: number | string; readonly epoch: number }>;
  /** Runs an action; the slot is not handed over until it has settled. Rejects without beginning it where the slot is not ours. */
  run?<T>(id: string, action: () => Promise<T>): Promise<T>;
  /** Calls back whenever other slots are ours than before; returns what ends that. The loop of a `Reconciler` wakes then. */
  onChange?(listener: () => void): () => void;
}

/** A leadership as the reconciler asks for it: one that can't say so is none. */
export function closedLeader(gate: LeaderGate): LeaderGate {
  return {
    isLeader: () => isTrue(() => gate.isLeader()),
    get epoch() {
      return gate.epoch;
    },
    get signal() {
      return gate.signal;
    },
  };
}

/** A division of slots as the reconciler asks for it: what can't be told to be ours is not. */
export interface ClosedShards {
  owns(id: string): boolean;
  epochOf(id: string): number | undefined;
  /** What writes to the slot stand under. Of a slot that is not ours any more the lowest there is. */
  fenceOf(id: string): Fence;
  /** Of all shards that are ours. */
  fences(): Fence[];
  run<T>(id: string, action: () => Promise<T>): Promise<T>;
  onChange(listener: () => void): () => void;
}

export function closedShards(gate: ShardGate): ClosedShards {
  return {
    owns: (id) => isTrue(() => gate.owns(id)),
    epochOf: (id) => gate.epochOf(id),
    fenceOf: (id) => ({
      name: gate.shardOf === undefined ? `slot ${id}` : shardName(gate.shardOf(id)),
      epoch: gate.epochOf(id) ?? 0,
    }),
    fences: () => Array.from(gate.held?.() ?? [], ({ shard, epoch }) => ({ name: shardName(shard), epoch })),
    run: (id, action) => (gate.run === undefined ? action() : gate.run(id, action)),
    onChange: (listener) => gate.onChange?.(listener) ?? (() => {}),
  };
}

function shardName(shard: number | string): string {
  return `shard ${shard}`;
}

/** Fails closed: also what answers a promise has not said yes. */
function isTrue(ask: () => boolean): boolean {
  try {
    const answer: unknown = ask();
    if (isThenable(answer)) Promise.resolve(answer).catch(() => {});
    return answer === true;
  } catch {
    return false;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
