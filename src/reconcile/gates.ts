import { rules } from "../option-rules.ts";
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
  /** Of the slot's shard, as long as that is held, also while it is handed over; what the ledger fences by. */
  epochOf(id: string): number | undefined;
  /** The shard of a slot. Defaults to a shard for each slot, which costs the ledger an entry for each. */
  shardOf?(id: string): number | string;
  /**
   * The shards that are ours and their epochs, for the ledger to know before anything is read; without `shardOf` the slots. Defaults to what
   * each write says.
   */
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
  /** Whether something may be begun for the slot. */
  owns(id: string): boolean;
  /** Whether the slot may be acted on: it is ours, or what was begun under {@link run} while it was goes on under the same epoch. */
  isAllowed(id: string): boolean;
  /** Where that can be told. */
  epochOf(id: string): number | undefined;
  /**
   * What writes to the slot stand under. Of a slot that is not ours any more the lowest there is.
   * @throws TypeError where the gate does not say it.
   */
  fenceOf(id: string): Fence;
  /** The same of a slot that is ours, where {@link fences} has it; of others nothing. */
  knownFenceOf(id: string): Fence | undefined;
  /**
   * Of all shards that are ours, as far as the gate tells.
   * @throws TypeError where what it tells is none; whatever the gate throws.
   */
  fences(): Fence[];
  /** Begins an action at most once, and settles as that does. Rejects where the gate did not begin it. */
  run<T>(id: string, action: () => Promise<T>): Promise<T>;
  onChange(listener: () => void): () => void;
}

export function closedShards(gate: ShardGate): ClosedShards {
  /** The epochs under which what runs was begun. */
  const begun = new Map<string, number>();
  const nameOf = (shard: unknown): string => (gate.shardOf === undefined ? `slot ${shard}` : `shard ${shard}`);

  const owns = (id: string): boolean => isTrue(() => gate.owns(id));

  const epochOf = (id: string): number | undefined => {
    const epoch = answerOf(() => gate.epochOf(id));
    return isEpoch(epoch) ? epoch : undefined;
  };

  const fenceOf = (id: string): Fence => {
    const shard = settledNow(gate.shardOf === undefined ? id : gate.shardOf(id));
    const epoch = settledNow(gate.epochOf(id)) ?? 0;
    if (!isShard(shard) || !isEpoch(epoch))
      throw new TypeError("A ShardGate has to say the shard of a slot, and its epoch.");
    return { name: nameOf(shard), epoch };
  };

  const isAllowed = (id: string): boolean => {
    const since = begun.get(id);
    const isOurs = owns(id) || (since !== undefined && epochOf(id) === since);
    return isOurs && answerOf(() => fenceOf(id)) !== undefined;
  };

  const begin = async <T>(id: string, action: () => Promise<T>): Promise<T> => {
    const epoch = epochOf(id);
    if (epoch !== undefined) begun.set(id, epoch);
    try {
      return await action();
    } finally {
      begun.delete(id);
    }
  };

  return {
    owns,
    isAllowed,
    epochOf,
    fenceOf,
    knownFenceOf: (id) => (gate.held !== undefined && owns(id) ? answerOf(() => fenceOf(id)) : undefined),
    fences: () => {
      const fences = new Map<string, number>();
      for (const { shard, epoch } of settledNow(gate.held?.()) ?? []) {
        if (!isShard(shard) || !isEpoch(epoch))
          throw new TypeError("ShardGate.held has to answer shards and their epochs.");
        const name = nameOf(shard);
        fences.set(name, Math.max(epoch, fences.get(name) ?? 0));
      }
      return Array.from(fences, ([name, epoch]) => ({ name, epoch }));
    },
    run: (id, action) =>
      gate.run === undefined
        ? action()
        : runOnce(
            (own) => gate.run?.(id, own),
            () => begin(id, action),
          ),
    onChange: (listener) => {
      // Who can't be told of changes finds out at the next resync.
      const end = answerOf(() => gate.onChange?.(listener));
      return () => void answerOf(() => (typeof end === "function" ? end() : undefined));
    },
  };
}

/** Whatever the runner does besides: what was begun is waited for, and what is refused never begins. */
function runOnce<T>(run: (action: () => Promise<T>) => unknown, action: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let running: Promise<T> | undefined;
    let isRefused = false;
    const refuse = (error: unknown): void => {
      isRefused = true;
      reject(error);
    };
    const once = (): Promise<T> => {
      if (isRefused) return Promise.reject(new Error("The action was refused before."));
      if (running === undefined) {
        running = action();
        running.then(resolve, reject);
      }
      return running;
    };
    new Promise((settle) => settle(run(once))).then(
      () => {
        if (running === undefined) refuse(new Error("The gate did not run the action."));
      },
      (error: unknown) => {
        if (running === undefined) refuse(error);
      },
    );
  });
}

function isShard(value: unknown): value is number | string {
  return typeof value === "string" ? rules.name.test(value) : Number.isSafeInteger(value);
}

function isEpoch(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Fails closed: also what answers a promise has not said yes. */
function isTrue(ask: () => boolean): boolean {
  return answerOf(ask) === true;
}

/** What is so now; nothing where asking throws, or answers a promise. */
function answerOf<T>(ask: () => T): T | undefined {
  try {
    return settledNow(ask());
  } catch {
    return undefined;
  }
}

/** @throws TypeError for a promise, which is nobody's any more. */
function settledNow<T>(answer: T): T {
  if (!isThenable(answer)) return answer;
  Promise.resolve(answer).catch(() => {});
  throw new TypeError("A gate answered a promise, where it is asked for what is so now.");
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
