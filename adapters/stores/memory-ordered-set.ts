/** A chunk is halved beyond this: long enough that there are few of them, short enough that moving its tail costs nothing. */
const LONGEST_CHUNK = 512;

/**
 * Values in an order of their own, in short sorted chunks: adding, deleting and finding cost a binary search and the moving of a
 * part of one chunk, also among a million. What the order depends on must not change while a value is inside.
 */
export class OrderedSet<T> {
  readonly #compare: (a: T, b: T) => number;
  /** None is empty. */
  readonly #chunks: T[][] = [];

  /** @param compare - 0 for the same value only. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  add(value: T): void {
    const last = this.#chunks.at(-1);
    // What grows at its end is filled without a search.
    if (last !== undefined && this.#compare(last.at(-1) as T, value) < 0) {
      if (last.length < LONGEST_CHUNK) last.push(value);
      else this.#chunks.push([value]);
      return;
    }
    const reached = (other: T): boolean => this.#compare(other, value) >= 0;
    const at = Math.max(0, Math.min(this.#chunkOf(reached), this.#chunks.length - 1));
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([value]);
      return;
    }
    chunk.splice(partition(chunk, reached), 0, value);
    if (chunk.length > LONGEST_CHUNK) this.#chunks.splice(at + 1, 0, chunk.splice(chunk.length >> 1));
  }

  delete(value: T): void {
    const reached = (other: T): boolean => this.#compare(other, value) >= 0;
    const at = this.#chunkOf(reached);
    const chunk = this.#chunks[at];
    if (chunk === undefined) return;
    const position = partition(chunk, reached);
    if (chunk[position] !== value) return;
    chunk.splice(position, 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /**
   * The values in order, from the first that `reached` says yes to.
   * @param reached - once true, true for all after it. Defaults to the very first.
   */
  *from(reached: (value: T) => boolean = () => true): Generator<T> {
    let at = this.#chunkOf(reached);
    let position = at < this.#chunks.length ? partition(this.#chunks[at] as T[], reached) : 0;
    for (; at < this.#chunks.length; at += 1, position = 0) {
      const chunk = this.#chunks[at] as T[];
      for (; position < chunk.length; position += 1) yield chunk[position] as T;
    }
  }

  /** The chunk with the first value that is reached; one after the last where none is. */
  #chunkOf(reached: (value: T) => boolean): number {
    return partition(this.#chunks, (chunk) => reached(chunk.at(-1) as T));
  }
}

/** The first position whose value is reached; the length where none is. */
function partition<T>(values: readonly T[], reached: (value: T) => boolean): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reached(values[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}
