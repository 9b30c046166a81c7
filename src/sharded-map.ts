/** Up to so many entries are one `Map`. */
const LARGEST_SINGLE = 8_192;
/** Enough that the shards of ten million entries grow within a few milliseconds each. */
const SHARDS = 256;
/** A power of two. */
const HASHES = 4_096;
/** Keys that differ do so at their ends, mostly. */
const TAIL = 5;

/** Some shards get up to twice as many keys as others, or evenly spread keys would make them all grow in the same moment. */
const SHARD_OF_HASH = Uint8Array.from({ length: HASHES }, (_, hash) => SHARDS * (2 ** (hash / HASHES) - 1));

/**
 * A map by text that grows to millions of entries without a long pause: a `Map` is rehashed as a whole each time that it doubles, the
 * shards of this one are on their own. It does **not** keep the order in which entries came.
 */
export class ShardedMap<V> {
  /** One, or {@link SHARDS}. */
  #shards: readonly Map<string, V>[] = [new Map()];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    return this.#shardOf(key).get(key);
  }

  has(key: string): boolean {
    return this.#shardOf(key).has(key);
  }

  set(key: string, value: V): void {
    const shard = this.#shardOf(key);
    const before = shard.size;
    shard.set(key, value);
    this.#size += shard.size - before;
    if (this.#size > LARGEST_SINGLE && this.#shards.length === 1) this.#split();
  }

  /** @returns whether it was there. */
  delete(key: string): boolean {
    const wasThere = this.#shardOf(key).delete(key);
    if (wasThere) this.#size -= 1;
    return wasThere;
  }

  /** Entries may be deleted while this goes on, and then don't come; whether one that is set meanwhile comes is open. */
  *values(): Generator<V> {
    const shards = this.#shards;
    for (const shard of shards) {
      // Of a map that was split meanwhile, the entries go on in its shards.
      for (const [key, value] of shard) {
        if (shards === this.#shards) yield value;
        else if (this.has(key)) yield this.get(key) as V;
      }
    }
  }

  #split(): void {
    const all = this.#shards.flatMap((shard) => [...shard]);
    this.#shards = Array.from({ length: SHARDS }, () => new Map<string, V>());
    for (const [key, value] of all) this.#shardOf(key).set(key, value);
  }

  #shardOf(key: string): Map<string, V> {
    const shards = this.#shards;
    if (shards.length === 1) return shards[0] as Map<string, V>;
    let hash = key.length;
    for (let at = Math.max(0, key.length - TAIL); at < key.length; at += 1) hash = hash * 31 + key.charCodeAt(at);
    return shards[SHARD_OF_HASH[hash & (HASHES - 1)] as number] as Map<string, V>;
  }
}
