/** What a {@link RankedHeap} holds. The heap alone writes `order` and `position`. */
export interface Ranked {
  /** The lowest comes out first. Changed only together with {@link RankedHeap.moved}. */
  rank: number;
  /** When it came in, among all that ever did: of equal ranks the first in is the first out. */
  order: number;
  /** Where it is in the heap; -1 outside. */
  position: number;
}

/**
 * A binary heap whose items know where they are, so that any of them is taken out, or moved, in O(log n).
 *
 * Williams, "Algorithm 232: Heapsort" (1964).
 */
export class RankedHeap<Item extends Ranked> {
  /** No item is ranked before its parent, the one at half its index. */
  readonly #items: Item[] = [];
  #entered = 0;

  get size(): number {
    return this.#items.length;
  }

  /** The first to come out. */
  peek(): Item | undefined {
    return this.#items[0];
  }

  push(item: Item): void {
    item.order = this.#entered;
    this.#entered += 1;
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  pop(): Item | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Takes the item out. One that isn't in does no harm. */
  remove(item: Item): void {
    const { position } = item;
    if (position < 0) return;
    item.position = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    last.position = position;
    this.moved(last);
  }

  /** To be called when the rank of an item that is in has changed. It keeps its turn among equal ranks. */
  moved(item: Item): void {
    this.#rise(item, item.position);
    this.#sink(item, item.position);
  }

  clear(): void {
    for (const item of this.#items) item.position = -1;
    this.#items.length = 0;
  }

  #rise(item: Item, from: number): void {
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >>> 1;
      const parent = this.#items[parentAt];
      if (parent === undefined || !isBefore(item, parent)) break;
      this.#put(parent, at);
      at = parentAt;
    }
    this.#put(item, at);
  }

  #sink(item: Item, from: number): void {
    let at = from;
    for (let child = this.#firstChild(at); child !== undefined && isBefore(child, item); child = this.#firstChild(at)) {
      const freed = child.position;
      this.#put(child, at);
      at = freed;
    }
    this.#put(item, at);
  }

  /** Which child of this place comes out first. */
  #firstChild(at: number): Item | undefined {
    const left = this.#items[2 * at + 1];
    const right = this.#items[2 * at + 2];
    return left !== undefined && right !== undefined && isBefore(right, left) ? right : left;
  }

  #put(item: Item, at: number): void {
    this.#items[at] = item;
    item.position = at;
  }
}

function isBefore(a: Ranked, b: Ranked): boolean {
  return a.rank === b.rank ? a.order < b.order : a.rank < b.rank;
}
