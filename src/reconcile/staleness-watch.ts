import { turnTaker } from "../resources/in-turns.ts";
import type { ResourceRow, StaleResources } from "../store.ts";
import type { Health } from "./judge.ts";
import type { ObservedItem, Slot } from "./slot.ts";
import { type Assessment, acceptAssessment, type HeartbeatHistory, type StalenessPolicy } from "./staleness.ts";

/** How many silent rows one look at the index brings at most, unless beats come from elsewhere too. */
const MOST_SILENT = 5_000;
/** Beyond so many due rows the group is read as a whole. */
const MOST_SINGLE_READS = 32;
const MOST_INTERVALS = 100;
/** How soon a policy that failed is asked again, in milliseconds. */
const ASK_AGAIN_MS = 5_000;

/** What the watch asks the store for. */
export interface HeartbeatReader {
  staleBefore(ageMs: number, limit: number): Promise<StaleResources>;
  get(id: string): Promise<ResourceRow | undefined>;
  provisioned(): AsyncIterable<ResourceRow>;
}

/** The slots whose rows are watched. */
export interface WatchedSlots {
  readonly size: number;
  slots(): Iterable<Slot>;
  slot(id: string): Slot | undefined;
}

/** A row as its silence was last read. */
interface Reading {
  readonly row: ResourceRow;
  readonly history: HeartbeatHistory;
  /** The history with the beat that the observation told last. */
  seen?: HeartbeatHistory;
}

/**
 * Knows which rows have fallen silent. Where the policy promises a `quietMs`, the store's index names the rows in question;
 * otherwise every row is read again when its policy wants to be asked.
 */
export class StalenessWatch {
  readonly #policy: StalenessPolicy;
  readonly #readings = new Map<string, Reading>();
  /** When the policy wants to be asked about a row next; only without `quietMs`. */
  readonly #checkAt = new Map<string, number>();
  #nextAt: number | undefined;
  #failure: unknown;

  constructor(policy: StalenessPolicy) {
    this.#policy = policy;
  }

  /** When the next row may fall silent, by the store's clock. */
  get nextAt(): number | undefined {
    return this.#nextAt;
  }

  /** What the policy threw, or answered wrongly, since the last refresh. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Reads what may be silent.
   * @param nowMs - by the store's clock, as far as it is known.
   * @param beatsFromElsewhere - whether the observation brings heartbeats that the store does not know of.
   * @returns the ids whose slots have to be judged for it.
   */
  async refresh(
    reader: HeartbeatReader,
    slots: WatchedSlots,
    nowMs: number,
    beatsFromElsewhere: boolean,
  ): Promise<readonly string[]> {
    this.#failure = undefined;
    this.#nextAt = undefined;
    const { quietMs } = this.#policy;
    if (quietMs === undefined) return this.#readDue(reader, slots, nowMs);
    const before = [...this.#readings.values()].map(({ row }) => row.id);
    await this.#readSilent(reader, quietMs, beatsFromElsewhere ? slots.size + 1 : MOST_SILENT, nowMs);
    const now = [...this.#readings.values()].map(({ row }) => row.id);
    // Those that beat again have to be looked at once more, too.
    return [...new Set([...before, ...now])];
  }

  /** What to think of a row; of one that was not read, that it is well. */
  healthOf(row: ResourceRow, item: ObservedItem | undefined, nowMs: number): Health {
    if (item?.healthy === false) return { verdict: "stale", reason: "Unhealthy" };
    const reading = this.#readings.get(keyOf(row));
    if (reading === undefined) return { verdict: "fresh" };
    // Where the index is asked, the row has just been read; its own time is the store's.
    const atMs = this.#policy.quietMs === undefined ? Math.max(reading.row.readAt, nowMs) : reading.row.readAt;
    const { verdict, nextCheckAt } = this.#assess(withBeat(reading, item?.beatAt), atMs);
    if (nextCheckAt !== undefined) this.#look(nextCheckAt);
    if (verdict !== "stale") return { verdict: "fresh", ...(nextCheckAt === undefined ? {} : { nextCheckAt }) };
    const sign = reading.row.lastHeartbeatAt ?? reading.row.provisionedAt ?? reading.row.createdAt;
    return { verdict: "stale", reason: "HeartbeatStale", silentForMs: reading.row.readAt - sign };
  }

  async #readSilent(reader: HeartbeatReader, quietMs: number, limit: number, nowMs: number): Promise<void> {
    const { rows, nextInMs } = await reader.staleBefore(quietMs, limit);
    const keys = new Set<string>();
    for (const row of rows) {
      const key = keyOf(row);
      keys.add(key);
      const known = this.#readings.get(key);
      const isSame =
        known?.row.lastHeartbeatAt === row.lastHeartbeatAt && known?.row.provisionedAt === row.provisionedAt;
      // The same object for the same silence: policies count by it.
      if (known !== undefined && isSame) this.#readings.set(key, { ...known, row });
      else this.#readings.set(key, { row, history: historyOf(row, []) });
    }
    for (const key of this.#readings.keys()) if (!keys.has(key)) this.#readings.delete(key);
    if (nextInMs !== undefined) this.#look((rows[0]?.readAt ?? nowMs) + nextInMs);
  }

  async #readDue(reader: HeartbeatReader, view: WatchedSlots, nowMs: number): Promise<readonly string[]> {
    const turns = turnTaker();
    const due: string[] = [];
    const provisioned = new Set<string>();
    for (const { rows } of view.slots()) {
      const row = rows.at(-1);
      if (row?.state !== "PROVISIONED") continue;
      const key = keyOf(row);
      provisioned.add(key);
      const checkAt = this.#checkAt.get(key);
      if (checkAt === undefined || checkAt <= nowMs) due.push(row.id);
      else if (Number.isFinite(checkAt)) this.#look(checkAt);
      if (turns.isDue()) await turns.turn();
    }
    for (const key of this.#checkAt.keys()) {
      if (turns.isDue()) await turns.turn();
      if (provisioned.has(key)) continue;
      this.#checkAt.delete(key);
      this.#readings.delete(key);
    }
    if (due.length > MOST_SINGLE_READS) {
      for await (const row of reader.provisioned()) if (provisioned.has(keyOf(row))) this.#take(row, view);
    } else {
      for (const row of await Promise.all(due.map((id) => reader.get(id)))) {
        if (row?.state === "PROVISIONED") this.#take(row, view);
      }
    }
    return due;
  }

  #take(row: ResourceRow, view: WatchedSlots): void {
    const key = keyOf(row);
    const known = this.#readings.get(key);
    const last = known?.row.lastHeartbeatAt;
    const at = row.lastHeartbeatAt;
    let history = known?.history ?? historyOf(row, []);
    if (known !== undefined && at !== undefined && at !== last) {
      const interval = last === undefined || at <= last ? [] : [at - last];
      history = historyOf(row, [...known.history.intervalsMs, ...interval].slice(-MOST_INTERVALS));
    }
    const reading: Reading = { ...(known?.history === history ? known : {}), row, history };
    this.#readings.set(key, reading);
    const item = view.slot(row.id)?.items.find(({ beatAt }) => beatAt !== undefined);
    const { verdict, nextCheckAt } = this.#assess(withBeat(reading, item?.beatAt), row.readAt);
    if (nextCheckAt !== undefined) this.#look(nextCheckAt);
    // One that is stale is read in every pass for as long as it is there, because a beat changes that; no pass is made for it.
    this.#checkAt.set(key, nextCheckAt ?? (verdict === "stale" ? row.readAt : Number.POSITIVE_INFINITY));
  }

  /** A policy that fails declares nobody dead. */
  #assess(history: HeartbeatHistory, nowMs: number): Assessment {
    try {
      return acceptAssessment(this.#policy.assess(history, nowMs));
    } catch (error) {
      this.#failure = error;
      return { verdict: "fresh", nextCheckAt: nowMs + ASK_AGAIN_MS };
    }
  }

  #look(at: number): void {
    this.#nextAt = Math.min(at, this.#nextAt ?? Number.POSITIVE_INFINITY);
  }
}

function keyOf({ id, incarnation }: ResourceRow): string {
  return `${incarnation}/${id}`;
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
function withBeat(reading: Reading, beatAt: number | undefined): HeartbeatHistory {
  const { history, seen } = reading;
  if (beatAt === undefined || (history.lastHeartbeatAt ?? 0) >= beatAt) return history;
  if (seen?.lastHeartbeatAt === beatAt) return seen;
  reading.seen = { ...history, lastHeartbeatAt: beatAt };
  return reading.seen;
}
