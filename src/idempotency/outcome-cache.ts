import type { Stopwatch } from "../clock.ts";
import type { CommittedOutcome } from "../store.ts";

/** A completed record as this process last saw it. */
export interface CachedRecord {
  readonly fingerprint: string | undefined;
  readonly committed: CommittedOutcome;
  /** Started before the store was asked: what it said was left of the retention counts from then. */
  readonly since: Stopwatch;
}

/**
 * Completed records of this process, the least recently used one leaving first. Only completed records, because nothing
 * else stays true; each until its retention ends, counted from when the store was asked.
 */
export class OutcomeCache {
  readonly #maxEntries: number;
  readonly #entries = new Map<string, CachedRecord>();

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  get(id: string): CachedRecord | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#entries.delete(id);
    if (entry.since.elapsedMs() >= entry.committed.expiresInMs) return undefined;
    this.#entries.set(id, entry);
    return entry;
  }

  put(id: string, record: CachedRecord): void {
    if (this.#maxEntries === 0) return;
    this.#entries.delete(id);
    this.#entries.set(id, record);
    if (this.#entries.size <= this.#maxEntries) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}
