import type { LogLine, PollLine, PollOutcome } from "./poll-log.ts";

/** What came of the polls, by the merged logs. */
export interface Tally {
  /** How many were filed. */
  readonly polls: number;
  readonly feeds: number;
  readonly pollers: number;
  /** Each time that two pollers were at one feed at a time, and the late one was no former holder who had stood still. */
  readonly overlaps: readonly string[];
  /** How many came late, and were refused by the server. */
  readonly refused: number;
  /** How many came late, and were given up by the poller itself. */
  readonly dropped: number;
}

/**
 * Whoever last asked so long ago whether it held a shard was suspended since, or at least did not get to run: a poller's own deadline is
 * a second before the end of its lease. In milliseconds.
 */
const STOOD_STILL_MS = 900;

interface Span {
  readonly poller: string;
  readonly feed: string;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly heldAt: number;
  readonly outcome: PollOutcome | "cut off";
}

/** @param lines - in the order of time. */
export function tally(lines: readonly LogLine[]): Tally {
  const spans = spansOf(lines);
  const filed = spans.filter(({ outcome }) => outcome === "filed");
  return {
    polls: filed.length,
    feeds: new Set(filed.map(({ feed }) => feed)).size,
    pollers: new Set(filed.map(({ poller }) => poller)).size,
    overlaps: overlapsOf(spans),
    refused: spans.filter(({ outcome }) => outcome === "refused").length,
    dropped: spans.filter(({ outcome }) => outcome === "dropped").length,
  };
}

/** From when to when each poll was at its feed, in the order of their beginnings. */
function spansOf(lines: readonly LogLine[]): Span[] {
  const ends = new Map(lines.flatMap((line) => (line.what === "end" ? [[line.poll, line] as const] : [])));
  // One that has no end was cut off with its process.
  const lastOf = new Map(lines.map(({ pid, at }) => [pid, at]));
  return lines
    .filter((line): line is PollLine => line.what === "begin")
    .map((begin) => {
      const { poll, poller, pid, feed, epoch, at } = begin;
      const end = ends.get(poll);
      const { heldAt } = end ?? begin;
      const to = end?.at ?? lastOf.get(pid) ?? at;
      return { poller, feed, epoch, from: at, to, heldAt, outcome: end?.outcome ?? "cut off" };
    });
}

function overlapsOf(spans: readonly Span[]): string[] {
  const found: string[] = [];
  const latest = new Map<string, Span[]>();
  for (const span of spans) {
    const before = (latest.get(span.feed) ?? []).filter(({ to }) => to > span.from);
    for (const other of before) {
      const [late, next] = other.epoch < span.epoch ? [other, span] : [span, other];
      // What was sent before may come in a little after the next one has begun, but not after that has had an effect.
      const isHarmless = late.outcome !== "filed" || late.to < next.to;
      if (late.poller === next.poller || (isHarmless && next.from - late.heldAt > STOOD_STILL_MS)) continue;
      found.push(`${late.poller} and ${next.poller} at ${span.feed}`);
    }
    latest.set(span.feed, [...before, span]);
  }
  return found;
}
