import { openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ShardStopReason } from "evenkeel";

/**
 * What became of a poll.
 * - `filed`: the server took what came of it.
 * - `refused`: the server had heard of a later holder of the shard.
 * - `dropped`: the poller found out itself that it held the shard no longer.
 * - `failed`: the server could not be asked.
 */
export type PollOutcome = "filed" | "refused" | "dropped" | "failed";

interface LineBase {
  readonly poller: string;
  readonly pid: number;
  readonly shard: number;
  readonly epoch: number;
  /** By {@link machineTime}. */
  readonly at: number;
}

/** One line of the log of one poller about a poll. */
export type PollLine = LineBase & {
  readonly poll: string;
  readonly feed: string;
  /** From before the poller last asked whether it held the shard, and was told that it did. */
  readonly heldAt: number;
} & ({ readonly what: "begin" } | { readonly what: "end"; readonly outcome: PollOutcome });

/** One that says that it holds a shard no longer, and why. */
export type ShardLine = LineBase & { readonly what: "over"; readonly reason: ShardStopReason };

export type LogLine = PollLine | ShardLine;

/** Milliseconds by a clock that all processes of a machine share, and that goes on for those that are stopped. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Appends lines to the log of a poller, each in one write, so that whatever ends the process leaves whole ones. */
export function logWriter(folder: string, poller: string): (line: LogLine) => void {
  const descriptor = openSync(join(folder, `${poller}.jsonl`), "a");
  return (line) => void writeSync(descriptor, `${JSON.stringify(line)}\n`);
}

/** All lines of all pollers, in the order of time. */
export function mergedLogs(folder: string): LogLine[] {
  const logs = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  const lines = logs.flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n").filter(Boolean));
  return lines.map((line) => JSON.parse(line) as LogLine).sort((a, b) => a.at - b.at);
}
