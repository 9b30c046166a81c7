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
  epochOf(id: string): number | undefined;
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
export function closedShards(gate: ShardGate): ShardGate {
  return {
    owns: (id) => isTrue(() => gate.owns(id)),
    epochOf: (id) => gate.epochOf(id),
  };
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
