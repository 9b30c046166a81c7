import { turnTaker } from "../resources/in-turns.ts";
import type { ResourceRow, StaleResources } from "../store.ts";
import { type Reading, readAgain, readAsSilent, readingKey, withBeat } from "./heartbeat-readings.ts";
import { heardOf, type ObservedItem, type Slot } from "./slot.ts";
import { type Assessment, acceptAssessment, type StalenessPolicy } from "./staleness.ts";
import type { Health } from "./verdict.ts";

/** How many silent rows one look at the index brings at most. */
const MOST_SILENT = 5_000;
/** Beyond so many due rows the group is read as a whole. */
const MOST_SINGLE_READS = 32;
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
  slots(): Iterable<Slot>;
  slot(id: string): Slot | undefined;
}

/** How silence is looked at. All moments are of the store's clock. */
export interface SilenceTerms {
  readonly nowMs: number;
  /** When the observation was asked for: the beats that it brought are judged as of then. Defaults to now. */
  readonly observedAt?: number;
  /** What is found in a `dry` look does not count for the next. */
  readonly mode: "dry" | "real";
}

/** Nothing is watched one by one. */
const NONE: ReadonlySet<string> = new Set();

/**
 * Knows which rows have fallen silent. Where the policy promises a `quietMs`, the store's index names the rows in question; those of
 * which beats were observed are read only if these don't say already that they are well. Without a promise every row is read again
 * when its policy wants to be asked.
 */
export class StalenessWatch {
  readonly #policy: StalenessPolicy;
  readonly #readings = new Map<string, Reading>();
  /** When the policy wants to be asked next about a row that is watched by itself, and not by the index. */
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
   * @param beats - `observed`: the observation brings heartbeats that the store does not know of.
   * @returns the ids whose slots have to be judged for it.
   */
  async refresh(
    reader: HeartbeatReader,
    slots: WatchedSlots,
    terms: SilenceTerms,
    beats: "stored" | "observed",
  ): Promise<readonly string[]> {
    this.#failure = undefined;
    this.#nextAt = undefined;
    const { quietMs } = this.#policy;
    const isEach = quietMs === undefined || beats === "observed";
    if (!isEach) this.#checkAt.clear();
    const { due, watched, others } = isEach
      ? await this.#readDue(reader, slots, terms)
      : { due: [], watched: NONE, others: 1 };
    if (quietMs === undefined) return due;
    const silent = () => [...this.#readings].flatMap(([key, { row }]) => (watched.has(key) ? [] : [row.id]));
    const before = silent();
    await this.#readSilent(reader, { quietMs, nowMs: terms.nowMs, watched, others });
    // Those that beat again have to be looked at once more, too.
    return [...new Set([...due, ...before, ...silent()])];
  }

  /** What to think of a row; of one that was not read, that it is well. */
  healthOf(row: ResourceRow, item: ObservedItem | undefined, terms: SilenceTerms): Health {
    if (item?.healthy === false) return { verdict: "stale", reason: "Unhealthy" };
    const reading = this.#readings.get(readingKey(row));
    if (reading === undefined) return { verdict: "fresh" };
    // Under a promise a row in question has just been read; its own time is the store's.
    const atMs = this.#policy.quietMs === undefined ? Math.max(reading.row.readAt, terms.nowMs) : reading.row.readAt;
    const { verdict, nextCheckAt } = this.#assess(reading, item?.beatAt, terms, atMs);
    if (nextCheckAt !== undefined) this.#look(nextCheckAt);
    if (verdict !== "stale") return { verdict: "fresh", ...(nextCheckAt === undefined ? {} : { nextCheckAt }) };
    const sign = reading.row.lastHeartbeatAt ?? reading.row.provisionedAt ?? reading.row.createdAt;
    return { verdict: "stale", reason: "HeartbeatStale", silentForMs: reading.row.readAt - sign };
  }

  // ---------------------------------------------------------------------------------------------- by the index

  async #readSilent(
    reader: HeartbeatReader,
    {
      quietMs,
      nowMs,
      watched,
      others,
    }: {
      readonly quietMs: number;
      readonly nowMs: number;
      readonly watched: ReadonlySet<string>;
      readonly others: number;
    },
  ): Promise<void> {
    const keys = new Set<string>();
    const take = (row: ResourceRow): void => {
      const key = readingKey(row);
      if (watched.has(key)) return;
      keys.add(key);
      this.#readings.set(key, readAsSilent(row, this.#readings.get(key)));
    };
    if (others > 0) {
      const { rows, nextInMs } = await reader.staleBefore(quietMs, MOST_SILENT);
      // Where the index is full of rows that are watched by themselves, it does not come to the others.
      if (rows.length >= MOST_SILENT && watched.size > 0) for await (const row of reader.provisioned()) take(row);
      else for (const row of rows) take(row);
      if (nextInMs !== undefined) this.#look((rows[0]?.readAt ?? nowMs) + nextInMs);
    }
    for (const key of this.#readings.keys()) if (!keys.has(key) && !watched.has(key)) this.#readings.delete(key);
  }

  // ------------------------------------------------------------------------------------------------ one by one

  /** @returns the ids of what was read, the keys of all that is watched by itself, and how many others there are. */
  async #readDue(
    reader: HeartbeatReader,
    view: WatchedSlots,
    terms: SilenceTerms,
  ): Promise<{ readonly due: readonly string[]; readonly watched: ReadonlySet<string>; readonly others: number }> {
    const turns = turnTaker();
    const due: string[] = [];
    const watched = new Set<string>();
    let others = 0;
    for (const slot of view.slots()) {
      if (turns.isDue()) await turns.turn();
      const row = slot.rows.at(-1);
      others += slot.rows.filter((each) => each !== row && each.state === "PROVISIONED").length;
      if (row?.state !== "PROVISIONED") continue;
      if (this.#policy.quietMs !== undefined && heardOf(slot, row)?.beatAt === undefined) {
        others += 1;
        continue;
      }
      watched.add(readingKey(row));
      if (this.#isDue(slot, row, terms)) due.push(row.id);
    }
    for (const key of this.#checkAt.keys()) {
      if (turns.isDue()) await turns.turn();
      if (watched.has(key)) continue;
      this.#checkAt.delete(key);
      this.#readings.delete(key);
    }
    if (due.length > MOST_SINGLE_READS) {
      for await (const row of reader.provisioned()) if (watched.has(readingKey(row))) this.#take(row, view, terms);
    } else {
      for (const row of await Promise.all(due.map((id) => reader.get(id)))) {
        if (row !== undefined && watched.has(readingKey(row)) && row.state === "PROVISIONED")
          this.#take(row, view, terms);
      }
    }
    return { due, watched, others };
  }

  /** Whether the row has to be read; otherwise it is known when it is looked at next. */
  #isDue(slot: Slot, row: ResourceRow, terms: SilenceTerms): boolean {
    const key = readingKey(row);
    let checkAt = this.#checkAt.get(key);
    if (checkAt === undefined || checkAt <= terms.nowMs) {
      checkAt = this.#wellUntil(slot, row, terms);
      if (checkAt === undefined) return true;
      this.#checkAt.set(key, checkAt);
    }
    if (Number.isFinite(checkAt)) this.#look(checkAt);
    return false;
  }

  /** When a row is to be looked at again that is well by what was observed of it. Without a promise the ledger is asked always. */
  #wellUntil(slot: Slot, row: ResourceRow, terms: SilenceTerms): number | undefined {
    if (this.#policy.quietMs === undefined) return undefined;
    const beatAt = heardOf(slot, row)?.beatAt;
    if (beatAt === undefined) return undefined;
    const reading = this.#readings.get(readingKey(row)) ?? readAgain(row, undefined);
    const dry = { ...terms, mode: "dry" } as const;
    const { verdict, nextCheckAt } = this.#assess(reading, beatAt, dry, terms.nowMs);
    return verdict === "fresh" ? (nextCheckAt ?? Number.POSITIVE_INFINITY) : undefined;
  }

  #take(row: ResourceRow, view: WatchedSlots, terms: SilenceTerms): void {
    const key = readingKey(row);
    const reading = readAgain(row, this.#readings.get(key));
    this.#readings.set(key, reading);
    const slot = view.slot(row.id);
    const beatAt = slot && heardOf(slot, row)?.beatAt;
    const { verdict, nextCheckAt } = this.#assess(reading, beatAt, terms, row.readAt);
    if (nextCheckAt !== undefined) this.#look(nextCheckAt);
    // One that is stale is read in every pass for as long as it is there, because a beat changes that; no pass is made for it.
    this.#checkAt.set(key, nextCheckAt ?? (verdict === "stale" ? row.readAt : Number.POSITIVE_INFINITY));
  }

  // --------------------------------------------------------------------------------------------------- policies

  /**
   * A policy that fails declares nobody dead.
   * @param atMs - as of when a beat is judged that the store knows of.
   */
  #assess(reading: Reading, beatAt: number | undefined, terms: SilenceTerms, atMs: number): Assessment {
    const { nowMs, observedAt = nowMs, mode } = terms;
    const history = withBeat(reading, beatAt);
    // Between the question and now it may have beaten again without us hearing of it.
    const asOf = history === reading.history ? atMs : Math.min(observedAt, nowMs);
    const policy = this.#policy;
    try {
      const isShown = mode === "dry" && policy.preview !== undefined;
      return acceptAssessment(isShown ? policy.preview?.(history, asOf) : policy.assess(history, asOf));
    } catch (error) {
      this.#failure = error;
      return { verdict: "fresh", nextCheckAt: nowMs + ASK_AGAIN_MS };
    }
  }

  #look(at: number): void {
    this.#nextAt = Math.min(at, this.#nextAt ?? Number.POSITIVE_INFINITY);
  }
}
