import type { ResourceRow } from "../store.ts";
import type { HeartbeatHistory } from "./staleness.ts";

const MOST_INTERVALS = 100;

/** A row as its silence was last read. */
export interface Reading {
  readonly row: ResourceRow;
  readonly history: HeartbeatHistory;
  /** The history with the beat that the observation told last. */
  seen?: HeartbeatHistory;
}

/** What tells rows apart of which readings are kept. */
export function readingKey({ id, incarnation }: ResourceRow): string {
  return `${incarnation}/${id}`;
}

/**
 * The reading of a row that the store's index found silent. It has the same history object for the same silence: policies count
 * by it.
 */
export function readAsSilent(row: ResourceRow, known: Reading | undefined): Reading {
  const isSame = known?.row.lastHeartbeatAt === row.lastHeartbeatAt && known?.row.provisionedAt === row.provisionedAt;
  return known !== undefined && isSame ? { ...known, row } : { row, history: historyOf(row, []) };
}

/** The reading of a row that is read again and again, with the interval to its last beat. */
export function readAgain(row: ResourceRow, known: Reading | undefined): Reading {
  const at = row.lastHeartbeatAt;
  const last = known?.row.lastHeartbeatAt;
  if (known === undefined) return { row, history: historyOf(row, []) };
  if (at === undefined || at === last) return { ...known, row };
  const interval = last === undefined || at <= last ? [] : [at - last];
  return { row, history: historyOf(row, [...known.history.intervalsMs, ...interval].slice(-MOST_INTERVALS)) };
}

function historyOf(
  { incarnation, provisionedAt, lastHeartbeatAt }: ResourceRow,
  intervalsMs: number[],
): HeartbeatHistory {
  return {
    incarnation,
    ...(provisionedAt === undefined ? {} : { provisionedAt }),
    ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt }),
    intervalsMs,
  };
}

/** With a beat that came another way, if it is the later one; the same object for the same beat. */
export function withBeat(reading: Reading, beatAt: number | undefined): HeartbeatHistory {
  const { history, seen } = reading;
  if (beatAt === undefined || (history.lastHeartbeatAt ?? 0) >= beatAt) return history;
  if (seen?.lastHeartbeatAt === beatAt) return seen;
  reading.seen = { ...history, lastHeartbeatAt: beatAt };
  return reading.seen;
}
