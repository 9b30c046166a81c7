import { turnOfEventLoop } from "../../src/clock.ts";
import { assertRow } from "../../src/resources/resource-of.ts";
import type { ResourceRow, ResourceState } from "../../src/store.ts";
import type { StoreReader } from "./store-reader.ts";

/** Rows by state. */
export type StateCounts = Readonly<Record<ResourceState, number>>;

const LIMITS = {
  /** Rows of one answer of the store. */
  page: 1_000,
  /** Of so many rows at most it is remembered in which state each was, some 10 MB. */
  mostFollowed: 100_000,
  /** So many pages of a group with more rows are counted in one look. */
  pagesALook: 20,
};
/** Rows are counted anew after this, since a purge is no change that could be followed, */
const RECOUNT_MS = 60_000;
/** and after a multiple of it where there are more than so many pages of them. */
const PAGES_A_RECOUNT = 10;

/**
 * Counts the rows of a group by state: by what changed since the last time, or, where there are too many to remember, round after round
 * over all of them.
 */
export class StateCounter {
  readonly #read: StoreReader;
  readonly #group: string;
  readonly #limits: typeof LIMITS;
  #followed: Following | undefined;
  #recountAt = 0;
  #isHuge = false;
  #round = emptyRound();
  #last: StateCounts | undefined;

  constructor(read: StoreReader, group: string, limits = LIMITS) {
    this.#read = read;
    this.#group = group;
    this.#limits = limits;
  }

  /** What was counted last; absent before the first time. */
  get last(): StateCounts | undefined {
    return this.#last;
  }

  /**
   * The counts as they are now, or as they were in the last whole round; absent before the first one is over.
   * @param nowMs - by a monotonic clock.
   * @throws what the store did.
   */
  async count(nowMs: number): Promise<StateCounts | undefined> {
    if (!this.#isHuge) {
      const counts = await this.#follow(nowMs);
      if (counts !== undefined) {
        this.#last = counts;
        return counts;
      }
      this.#isHuge = true;
      this.#followed = undefined;
    }
    await this.#goRound();
    return this.#last;
  }

  /** @returns nothing where there are too many rows. */
  async #follow(nowMs: number): Promise<StateCounts | undefined> {
    const { page, mostFollowed } = this.#limits;
    const isDue = nowMs >= this.#recountAt;
    // The old counts stand until the new ones are whole.
    const following = (isDue ? undefined : this.#followed) ?? new Following();
    for (;;) {
      const { cursor } = following;
      const request = { group: this.#group, limit: page, ...(cursor === undefined ? {} : { cursor }) };
      const changed = await this.#read((store, call) => store.resources.changedSince(request, call));
      if (changed.reset) following.clear();
      for (const row of changed.rows) following.take(row);
      following.cursor = changed.cursor;
      if (following.size > mostFollowed) return undefined;
      if (changed.rows.length < page) break;
      // A store in this process answers without a turn.
      await turnOfEventLoop();
    }
    const factor = Math.max(1, following.size / page / PAGES_A_RECOUNT);
    if (following !== this.#followed) this.#recountAt = nowMs + RECOUNT_MS * factor;
    this.#followed = following;
    return { ...following.counts };
  }

  async #goRound(): Promise<void> {
    const { page, pagesALook } = this.#limits;
    for (let taken = 0; taken < pagesALook; taken += 1) {
      const { after, counts } = this.#round;
      const request = { group: this.#group, limit: page, ...(after === undefined ? {} : { after }) };
      const rows = await this.#read((store, call) => store.resources.list(request, call));
      for (const row of rows) assertRow(row);
      for (const { state, id, incarnation } of rows) {
        counts[state] += 1;
        this.#round.after = { id, incarnation };
      }
      if (rows.length < page) {
        this.#last = counts;
        this.#round = emptyRound();
        return;
      }
      await turnOfEventLoop();
    }
  }
}

/** What is known of each row, as far as it was followed. */
class Following {
  readonly #states = new Map<string, ResourceState>();
  counts = noRows();
  cursor: string | undefined;

  get size(): number {
    return this.#states.size;
  }

  take(row: ResourceRow): void {
    assertRow(row);
    const key = `${row.incarnation}:${row.id}`;
    const before = this.#states.get(key);
    if (before !== undefined) this.counts[before] -= 1;
    this.counts[row.state] += 1;
    this.#states.set(key, row.state);
  }

  clear(): void {
    this.#states.clear();
    this.counts = noRows();
  }
}

function emptyRound(): { after: { readonly id: string; readonly incarnation: number } | undefined; counts: Counts } {
  return { after: undefined, counts: noRows() };
}

type Counts = Record<ResourceState, number>;

function noRows(): Counts {
  return { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 };
}
