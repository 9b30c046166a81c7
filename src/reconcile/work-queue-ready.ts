import { type Ranked, RankedHeap } from "./work-queue-heap.ts";

/** A key rises by one level of priority in this time, in milliseconds. */
const LEVEL_MS = 1_000;

/** A key that has to run. Times are monotonic milliseconds. */
export class DirtyKey<Key> implements Ranked {
  readonly key: Key;
  readonly addedAt: number;
  priority: number;
  /** Since when it can be handed out; it ages from then on. */
  readyAt: number;
  rank = 0;
  order = 0;
  position = -1;

  constructor(key: Key, addedAt: number, priority: number) {
    this.key = key;
    this.addedAt = addedAt;
    this.readyAt = addedAt;
    this.priority = priority;
  }
}

/**
 * Keys that can be handed out: the highest priority first, where each second of waiting counts as a level; of equals the
 * first in. So a key waits at most q - p seconds longer than those that come later with priority q instead of its p.
 *
 * Both grow at one speed, so the order of two keys never changes by time alone, and a heap keeps it.
 */
export class ReadyKeys<Key> {
  readonly #heap = new RankedHeap<DirtyKey<Key>>();

  get size(): number {
    return this.#heap.size;
  }

  push(dirty: DirtyKey<Key>, now: number): void {
    dirty.readyAt = now;
    dirty.rank = rankOf(dirty);
    this.#heap.push(dirty);
  }

  pop(): DirtyKey<Key> | undefined {
    return this.#heap.pop();
  }

  /** Gives the key the priority if that is higher than its own, whether it is in or not. It keeps its time of waiting. */
  raise(dirty: DirtyKey<Key>, priority: number): void {
    if (priority <= dirty.priority) return;
    dirty.priority = priority;
    if (dirty.position < 0) return;
    dirty.rank = rankOf(dirty);
    this.#heap.moved(dirty);
  }
}

/** The lower the earlier: being a level higher is as good as having waited for one level's time longer. */
function rankOf({ readyAt, priority }: DirtyKey<unknown>): number {
  return readyAt - priority * LEVEL_MS;
}
