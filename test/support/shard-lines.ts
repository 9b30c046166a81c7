import { jumpHash, type ShardStopReason } from "../../src/index.ts";
import { electionReader, electionWriter, machineTime } from "./election-lines.ts";

/** How many the processes divide into. */
export const SHARDS = 16;
/** The resources that a `Reconciler({ shards })` looks after. */
export const SLOTS = "web";
/** The resources that members write themselves, under the fence of a shard. */
export const WRITTEN = "written";
/** One of each shard: the n-th is of the n-th. */
export const KEYS: readonly string[] = Array.from({ length: SHARDS }, (_, shard) => keyOf(shard));

/**
 * What is of a shard under an epoch, and has nothing more to say.
 * - `assigned`, `revoked`: the callbacks. `draining`: the first one's `signal` aborts.
 * - `began`, `effect`: something was done on a key under `run`, the first time and further ones, as of **before** it was asked whether
 *   that may be. A process may be suspended between asking and doing, which no lease prevents; what counts is when it had the right to.
 * - `settled`: what `began`, or was called by the reconciler, is about to.
 * - `renewing`: the store is about to be asked to renew the lease. `confirmed`: it has granted or renewed it, as of before it was asked;
 *   earlier by as much as less than the whole lease was left, as when a request is sent again whose answer was lost. So the lease lapses
 *   no sooner than its duration after that.
 * - `releasing`: the lease is about to be given up.
 * - `raised`: the ledger knows the epoch, and refuses what the reconciler of a former holder still sends.
 * - `holding`: the process stands still between its reconciler's decision to write and the write.
 */
type OfShard =
  | "assigned"
  | "draining"
  | "revoked"
  | "began"
  | "effect"
  | "settled"
  | "renewing"
  | "confirmed"
  | "releasing"
  | "raised"
  | "holding";

/** What the ledger said to a write. `unknown`: it did not answer. */
export type WriteAnswer = "applied" | "conflict" | "fenced" | "unknown";

/** What one process of a division tells in its log. */
export type ShardNews =
  | { [What in OfShard]: { readonly what: What; readonly shard: number; readonly epoch: number } }[OfShard]
  /** The coordinator says that the shard is held no longer, and nothing runs under it. */
  | { readonly what: "over"; readonly shard: number; readonly epoch: number; readonly reason: ShardStopReason }
  /** The reconciler calls back, as of before it is asked for the epoch; 0 where the shard is held no longer at that moment. */
  | {
      readonly what: "create" | "terminate";
      readonly shard: number;
      readonly epoch: number;
      readonly id: string;
      readonly incarnation: number;
      readonly key: string;
    }
  /** It goes on after `holding`, and whether it holds the shard at that very moment, before any timer had its turn. */
  | { readonly what: "resumed"; readonly shard: number; readonly epoch: number; readonly holds: boolean }
  /** A row of {@link WRITTEN}, by this name. */
  | {
      readonly what: "write";
      readonly shard: number;
      readonly epoch: number;
      readonly id: string;
      readonly answer: WriteAnswer;
    }
  /** A write of the reconciler's that it stood still before. */
  | {
      readonly what: "late";
      readonly shard: number;
      readonly epoch: number;
      readonly id: string;
      readonly answer: WriteAnswer;
    }
  /** Its own membership is about to be renewed, or was got or renewed, as `renewing` and `confirmed`. */
  | { readonly what: "staying" | "member" }
  /** It is about to look who is there. */
  | { readonly what: "looking" }
  /** It is about to have the coordinator stop. */
  | { readonly what: "leaving" }
  | { readonly what: "error"; readonly of: string; readonly message: string };

/** One line of the log of one process. `at` is by `machineTime`. */
export type ShardLine = ShardNews & { readonly at: number; readonly node: string };

/** A line that is of a shard under an epoch. */
export type TermLine = Extract<ShardLine, { readonly epoch: number }>;

/** Appends lines to a file, each in one write. */
export function shardWriter(file: string, node: string): (news: ShardNews, at?: number) => void {
  const write = electionWriter(file, node) as unknown as (news: ShardNews, at: number) => void;
  return (news, at = machineTime()) => write(news, at);
}

/** Reads what another process appends to a file. @returns all lines so far, in their order; each call reads only what is new. */
export function shardReader(file: string): () => readonly ShardLine[] {
  return electionReader(file) as unknown as () => readonly ShardLine[];
}

function keyOf(shard: number): string {
  for (let n = 0; ; n += 1) if (jumpHash(`key-${n}`, SHARDS) === shard) return `key-${n}`;
}
