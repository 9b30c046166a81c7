import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { LeaderStopReason } from "../../src/index.ts";

/** The resources that leaders write. */
export const GROUP = "led";

/**
 * What is of a term, and has nothing more to say.
 * - `started`, `stopped`: the callbacks of a term; `settled`: what the first one returned is about to.
 * - `effect`: something was done outside of the ledger, as of **before** it was asked whether this node leads. A process may be
 *   suspended between asking and doing, which no lease prevents; what counts is when it had the right to.
 * - `confirmed`: the store granted or renewed the lease, as of before it was asked; earlier by as much as less than the whole lease
 *   was left, as when a request is sent again whose answer was lost. So the lease lapses no sooner than its duration after that.
 * - `releasing`: the lease is about to be given up.
 * - `holding`: the node stands still between asking whether it leads and writing to the ledger.
 */
type OfTerm = "started" | "settled" | "stopped" | "effect" | "confirmed" | "releasing" | "holding";

/** What a node of an election tells in its log. */
export type ElectionNews =
  | { [What in OfTerm]: { readonly what: What; readonly epoch: number } }[OfTerm]
  /** The elector says that the term is over. */
  | { readonly what: "over"; readonly epoch: number; readonly reason: LeaderStopReason }
  /** It goes on after `holding`, and whether it leads at that very moment, before any timer had its turn. */
  | { readonly what: "resumed"; readonly epoch: number; readonly leads: boolean }
  /** What the ledger said to a write. `unknown`: it did not answer. */
  | {
      readonly what: "write";
      readonly epoch: number;
      readonly id: string;
      readonly answer: "applied" | "conflict" | "fenced" | "unknown";
    }
  | { readonly what: "observed"; readonly leader: string; readonly epoch: number }
  | { readonly what: "error"; readonly of: string; readonly message: string }
  /** It was asked whether it leads, and does no longer. */
  | { readonly what: "follows" };

/** One line of the log of one node. `at` is by {@link machineTime}. */
export type ElectionLine = ElectionNews & { readonly at: number; readonly node: string };

/** Milliseconds by `CLOCK_MONOTONIC`, which all processes of a machine share, and which goes on for those that are stopped. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Appends lines to a file, each in one write, so that whatever ends the process leaves whole ones. */
export function electionWriter(file: string, node: string): (news: ElectionNews, at?: number) => void {
  const descriptor = openSync(file, "a");
  return (news, at = machineTime()) => void writeSync(descriptor, `${JSON.stringify({ at, node, ...news })}\n`);
}

/** Reads what another process appends to a file. @returns all lines so far, in their order; each call reads only what is new. */
export function electionReader(file: string): () => readonly ElectionLine[] {
  const buffer = Buffer.alloc(65_536);
  const lines: ElectionLine[] = [];
  let position = 0;
  let rest = "";
  return () => {
    const descriptor = openSync(file, "a+");
    for (;;) {
      const length = readSync(descriptor, buffer, 0, buffer.length, position);
      if (length === 0) break;
      position += length;
      const texts = (rest + buffer.toString("latin1", 0, length)).split("\n");
      rest = texts.pop() as string;
      for (const text of texts) lines.push(JSON.parse(text));
    }
    closeSync(descriptor);
    return lines;
  };
}
