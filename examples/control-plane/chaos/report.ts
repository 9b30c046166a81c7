import type { DeliveryCounts } from "./delivery.ts";
import type { Facts } from "./facts.ts";
import type { FaultCounts } from "./faults.ts";
import type { Verdict } from "./judge.ts";

/** All that a run says at its end. */
export interface Report {
  readonly ok: boolean;
  readonly seed: number;
  readonly engine: string;
  readonly seconds: number;
  readonly injected: FaultCounts & DeliveryCounts & { readonly lateWrites: number; readonly staleProbes: number };
  readonly seen: {
    readonly requests: number;
    readonly replays: number;
    readonly deferred: number;
    readonly leaderChanges: number;
    readonly longestTakeoverMs: number;
    readonly started: number;
    readonly replacements: number;
    readonly refusedStarts: number;
    readonly fencedWrites: number;
    readonly longestUnconvergedMs: number;
    readonly settledAfterMs: number;
  };
  readonly checks: readonly Verdict[];
}

/** What of a report is counted from the facts. */
export function countsOf({ requests, leaders, takeovers, lines }: Facts) {
  const answers = requests.flatMap((request) => request.answers);
  const started = lines.filter(({ event }) => event === "started");
  return {
    requests: requests.length,
    replays: answers.filter(({ replayed }) => replayed).length,
    deferred: requests.reduce((total, { deferred }) => total + deferred, 0),
    leaderChanges: Math.max(0, new Set(leaders.map(({ epoch }) => epoch)).size - 1),
    longestTakeoverMs: Math.max(0, ...takeovers.map(({ tookMs = 0 }) => tookMs)),
    started: started.length,
    replacements: started.filter(({ incarnation }) => incarnation > 1).length,
    refusedStarts: lines.filter(({ event }) => event === "refused").length,
  };
}

/** How many things of one check are told. The rest is as wrong. */
const MOST_WRONGS = 8;

/** A report for people. */
export function textOfReport({ ok, seed, engine, seconds, injected, seen, checks }: Report): string {
  const s = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  return [
    `chaos of ${seconds} s on ${engine}, seed ${seed}`,
    "",
    "injected",
    `  ${injected.killedWorkers} workers killed, ${injected.frozenWorkers} frozen`,
    `  ${injected.killedLeaders} leaders and ${injected.killedCopies} other copies killed, ${injected.frozenLeaders} leaders frozen`,
    `  the ledger cut off from the leader: ${injected.swallowedCuts} times into a black hole, ${injected.heldCuts} with what was sent arriving late (${injected.lateWrites} pieces), ${injected.resetCuts} with connections broken`,
    `  of ${seen.requests} requests ${injected.doubledAtOnce} doubled at once and ${injected.doubledLater} later, ${injected.droppedReplies} replies dropped`,
    `  ${injected.staleProbes} writes tried under epochs of former leaders`,
    "",
    "seen",
    `  ${seen.leaderChanges} changes of the leader, the longest after ${s(seen.longestTakeoverMs)}`,
    `  ${seen.started} workers started, ${seen.replacements} of them as replacements; ${seen.refusedStarts} second starts with the same key refused`,
    `  ${seen.replays} answers replayed, ${seen.deferred} requests told to come again`,
    `  ${seen.fencedWrites} writes of the copies fenced`,
    `  ${s(seen.longestUnconvergedMs)} without convergence at the longest, and settled ${s(seen.settledAfterMs)} after the last fault`,
    "",
    ...checks.flatMap(({ check, wrong }) => [
      `${wrong.length === 0 ? "ok   " : "WRONG"}  ${check}`,
      ...wrong.slice(0, MOST_WRONGS).map((what) => `         ${what}`),
      ...(wrong.length > MOST_WRONGS ? [`         and ${wrong.length - MOST_WRONGS} more`] : []),
    ]),
    "",
    ok ? "All of it held." : `Not all of it held. The same faults again: --seed ${seed}`,
  ].join("\n");
}
