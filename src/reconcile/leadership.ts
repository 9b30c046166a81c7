import type { LeaderGate } from "./gates.ts";

/** One leadership, as of the moment when it was asked for. A later one is another, also of the same process. */
export interface Leadership {
  /** What the ledger fences by; undefined without an election, and where this process did not lead. */
  readonly epoch: number | undefined;
  /** Whether it goes on. Without an election it always does; where this process did not lead it never did. */
  lasts(): boolean;
}

/** The leadership of now. */
export function presentLeadership(leader: LeaderGate | undefined): Leadership {
  if (leader === undefined) return { epoch: undefined, lasts: () => true };
  if (!leader.isLeader()) return { epoch: undefined, lasts: () => false };
  const { epoch } = leader;
  return { epoch, lasts: () => leader.isLeader() && leader.epoch === epoch };
}
