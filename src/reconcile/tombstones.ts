import type { ResourceRow } from "../store.ts";

interface Tombstone {
  readonly id: string;
  readonly incarnation: number;
  readonly terminatedAt: number;
}

/** What was terminated, until the ledger may forget it. All moments are of the store's clock. */
export class Tombstones {
  #kept: Tombstone[] = [];
  #oldestAt = Number.POSITIVE_INFINITY;

  add({ id, incarnation, stateChangedAt: terminatedAt }: ResourceRow): void {
    this.#kept.push({ id, incarnation, terminatedAt });
    this.#oldestAt = Math.min(this.#oldestAt, terminatedAt);
  }

  /** Whether there is one of this moment, or from before it. */
  hasBefore(moment: number): boolean {
    return this.#oldestAt <= moment;
  }

  /** Hands those out that are of this moment or from before it, and keeps the others. */
  takeBefore(moment: number): readonly Tombstone[] {
    const all = this.#kept;
    this.clear();
    const taken: Tombstone[] = [];
    for (const tombstone of all) {
      if (tombstone.terminatedAt <= moment) {
        taken.push(tombstone);
        continue;
      }
      this.#kept.push(tombstone);
      this.#oldestAt = Math.min(this.#oldestAt, tombstone.terminatedAt);
    }
    return taken;
  }

  clear(): void {
    this.#kept = [];
    this.#oldestAt = Number.POSITIVE_INFINITY;
  }
}
