import { digest } from "../digest.ts";

/** How an earlier incarnation of a slot ended. Epoch milliseconds. */
export interface EarlierIncarnation {
  /** Absent: it never was. */
  readonly provisionedAt?: number;
  readonly endedAt: number;
  /** It fell silent, became unhealthy or vanished, as against being scaled down. */
  readonly unexpected: boolean;
}

/** An incarnation that failed and is to be replaced. Epoch milliseconds. */
export interface FailedIncarnation {
  readonly id: string;
  readonly incarnation: number;
  /** Absent: it never was. */
  readonly provisionedAt?: number;
  readonly failedAt: number;
  /** The earlier incarnations of the slot that are still in the ledger, newest first. */
  readonly previous: readonly EarlierIncarnation[];
}

const FIRST_DELAY_MS = 10_000;
const LONGEST_DELAY_MS = 300_000;
/** Who lived this long is no sign of a slot that can't be kept. */
const STABLE_MS = 600_000;
/** Delays are up to this part longer, so that slots that failed together don't come back together. */
const JITTER = 0.2;

/**
 * When a failed incarnation may be replaced, in epoch milliseconds: at once, then after 10 s, 20 s, 40 s … 5 min, doubled for
 * each incarnation in a row before it that ended unexpectedly. The row begins with the last that lived 10 minutes: it was itself
 * replaced at once. Delays are up to 20 % longer, by a hash of the id and the incarnation: the same inputs give the same moment.
 */
export function nextReplacementAt(failed: FailedIncarnation): number {
  const { id, incarnation, provisionedAt, failedAt, previous } = failed;
  if (wasStable(provisionedAt, failedAt)) return failedAt;
  const end = previous.findIndex((earlier) => !earlier.unexpected || wasStable(earlier.provisionedAt, earlier.endedAt));
  const inARow = end === -1 ? previous.length : end + Number(previous[end]?.unexpected);
  if (inARow === 0) return failedAt;
  const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (inARow - 1));
  return failedAt + delayMs + Math.floor(delayMs * JITTER * fractionOf(id, incarnation));
}

function wasStable(provisionedAt: number | undefined, endedAt: number): boolean {
  return provisionedAt !== undefined && endedAt - provisionedAt >= STABLE_MS;
}

/** A number in [0, 1) that is evenly spread over ids and incarnations. */
function fractionOf(id: string, incarnation: number): number {
  return Number.parseInt(digest(id, String(incarnation)).slice(0, 8), 16) / 2 ** 32;
}
