import type { ResourceRow } from "../../src/index.ts";
import type { ElectionLine } from "../support/election-lines.ts";
import type { ElectionDurations } from "../support/election-node.ts";

/** The clocks of the engine and of the machine may differ by so much over a lease, and engines count whole milliseconds. */
const CLOCK_SLACK_MS = 50;
/** Of numbers of milliseconds that are not whole. */
const ROUNDING_MS = 0.01;

/** From the last effect of an epoch to the first one of the next that had any. */
export interface Handover {
  readonly from: number;
  readonly to: number;
  readonly gapMs: number;
}

/** What there is to say of the logs of an election. */
export interface Verdict {
  /** Each in words; none, where the election kept its rules. */
  readonly violations: readonly string[];
  readonly handovers: readonly Handover[];
  /** The writes that the ledger refused. */
  readonly fenced: readonly (ElectionLine & { what: "write" })[];
}

/** One term of one node. */
interface Term {
  readonly node: string;
  readonly epoch: number;
  readonly lines: readonly ElectionLine[];
}

/**
 * Holds the logs of all nodes of an election against its rules.
 *
 * @param logs - one for each node, in the order in which it was written.
 */
export function judgeElection(logs: readonly (readonly ElectionLine[])[], durations: ElectionDurations): Verdict {
  const lines = logs.flat();
  const terms = termsOf(logs);
  const handovers = handoversOf(lines);
  return {
    violations: [
      ...ownersOf(terms),
      ...handovers
        .filter(({ gapMs }) => gapMs < 0)
        .map(({ from, to, gapMs }) => `epoch ${from} had an effect ${-gapMs} ms after the first one of epoch ${to}`),
      ...logs.flatMap(callbacksOutOfOrder),
      ...terms.flatMap((term) => outsideOfTerm(term, durations)),
      ...earlyStarts(terms, durations),
    ],
    handovers,
    fenced: lines.filter((line) => line.what === "write").filter(({ answer }) => answer === "fenced"),
  };
}

/**
 * Holds what is in the ledger against what the nodes were told that they had written.
 *
 * @param rows - of all writes, in the order in which the ledger took them.
 * @returns what is wrong, each in words.
 */
export function judgeLedger(logs: readonly (readonly ElectionLine[])[], rows: readonly ResourceRow[]): string[] {
  const epochs = new Map(rows.map(({ id, spec }) => [id, Number(spec)]));
  const writes = logs.flat().filter((line) => line.what === "write");
  return [
    ...rows
      .slice(1)
      .filter((row, n) => Number(row.spec) < Number(rows[n]?.spec))
      .map(({ id, spec }) => `the ledger took ${id} of epoch ${spec} after a write of a later one`),
    ...writes
      .filter(({ id, epoch, answer }) => answer === "applied" && epochs.get(id) !== epoch)
      .map(({ id, epoch }) => `${id} of epoch ${epoch} was applied and is not in the ledger`),
    ...writes
      .filter(({ id, answer }) => answer === "fenced" && epochs.has(id))
      .map(({ id, epoch }) => `${id} of epoch ${epoch} was fenced and is in the ledger`),
    ...writes
      .filter(({ answer }) => answer === "conflict")
      .map(({ id }) => `${id} was refused for something else than its epoch`),
  ];
}

function termsOf(logs: readonly (readonly ElectionLine[])[]): Term[] {
  return logs.flatMap((log) => {
    const ofTerms = log.filter(
      (line): line is ElectionLine & { epoch: number } => "epoch" in line && line.what !== "observed",
    );
    return [...byEpoch(ofTerms)].map(([epoch, lines]) => ({ node: lines[0]?.node ?? "", epoch, lines }));
  });
}

function byEpoch<Of extends { readonly epoch: number }>(all: readonly Of[]): Map<number, Of[]> {
  const groups = new Map<number, Of[]>();
  for (const one of all) groups.set(one.epoch, [...(groups.get(one.epoch) ?? []), one]);
  return groups;
}

function ownersOf(terms: readonly Term[]): string[] {
  return [...byEpoch(terms)].flatMap(([epoch, owners]) =>
    owners.length > 1 ? [`epoch ${epoch} is that of ${owners.map(({ node }) => node).join(" and ")}`] : [],
  );
}

function handoversOf(lines: readonly ElectionLine[]): Handover[] {
  const spans = [...byEpoch(lines.filter((line) => line.what === "effect"))].map(([epoch, effects]) => {
    const times = effects.map(({ at }) => at);
    return { epoch, first: Math.min(...times), last: Math.max(...times) };
  });
  spans.sort((a, b) => a.epoch - b.epoch);
  return spans.slice(1).map(({ epoch, first }, n) => {
    // An effect may be as late as several epochs.
    const latest = spans.slice(0, n + 1).reduce((one, other) => (other.last >= one.last ? other : one));
    return { from: latest.epoch, to: epoch, gapMs: first - latest.last };
  });
}

/** started n, settled n, stopped n, and then those of a higher epoch; a log may end anywhere. */
function callbacksOutOfOrder(log: readonly ElectionLine[]): string[] {
  const order = ["started", "settled", "stopped"] as const;
  const calls = log.filter((line) => line.what === "started" || line.what === "settled" || line.what === "stopped");
  return calls.flatMap(({ what, epoch, node }, n) => {
    const before = calls[n - 1];
    const isOfTerm = before === undefined || (what === "started" ? epoch > before.epoch : epoch === before.epoch);
    if (what === order[n % order.length] && isOfTerm) return [];
    return [
      `${node}: ${what} ${epoch} came after ${before === undefined ? "nothing" : `${before.what} ${before.epoch}`}`,
    ];
  });
}

/** What a node does under an epoch it does while it holds it, by its own deadline too, and it releases nothing before it is done. */
function outsideOfTerm({ node, epoch, lines }: Term, { renewDeadlineMs }: ElectionDurations): string[] {
  let confirmedAt = Number.NEGATIVE_INFINITY;
  const seen = new Set<ElectionLine["what"]>();
  return lines.flatMap((line): string[] => {
    const isDone = seen.has("settled") || seen.has("over");
    const isAtWork = seen.has("started") && !seen.has("settled");
    seen.add(line.what);
    switch (line.what) {
      case "confirmed":
        confirmedAt = Math.max(confirmedAt, line.at);
        return [];
      case "releasing":
        return isAtWork ? [`${node} released ${epoch} before its work had settled`] : [];
      case "effect": {
        const lateMs = line.at - confirmedAt - renewDeadlineMs;
        return [
          ...(isDone ? [`${node} had an effect under ${epoch} after that was over`] : []),
          ...(lateMs > ROUNDING_MS ? [`${node} had an effect under ${epoch} ${lateMs} ms after its deadline`] : []),
        ];
      }
      default:
        return [];
    }
  });
}

/** Nobody leads before the lease that was there has lapsed, or was given up. */
function earlyStarts(terms: readonly Term[], { leaseDurationMs }: ElectionDurations): string[] {
  const timesOf = ({ lines }: Term, what: ElectionLine["what"]): number[] =>
    lines.filter((line) => line.what === what).map(({ at }) => at);
  return terms.flatMap((term) => {
    const startedAt = timesOf(term, "started")[0] ?? Number.POSITIVE_INFINITY;
    return terms.flatMap((before) => {
      if (before.epoch >= term.epoch || timesOf(before, "releasing").some((at) => at <= startedAt)) return [];
      const lapsesAt = Math.max(...timesOf(before, "confirmed")) + leaseDurationMs;
      const earlyMs = lapsesAt - startedAt;
      return earlyMs > CLOCK_SLACK_MS ? [`${term.node} led under ${term.epoch} ${earlyMs} ms too early`] : [];
    });
  });
}
