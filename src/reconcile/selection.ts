/** How many may come before they are put in order again. */
const BATCH = 500;

/** The order that a {@link Selection} is of. */
export interface SelectionOrder<T> {
  /** Puts some in order, which may be in place. */
  sort(batch: T[]): T[];
  /** Whether an item comes after another in every batch. Absent where that can't be said of two alone. */
  isAfter?(item: T, other: T): boolean;
}

/** The first of many in an order, of which only so many are ever needed: what it costs does not grow with what is left out. */
export class Selection<T> {
  readonly #bound: number;
  readonly #order: SelectionOrder<T>;
  #items: T[] = [];
  /** What comes after this is left out in any case. */
  #last: T | undefined;
  #dropped = 0;

  constructor(bound: number, order: SelectionOrder<T>) {
    this.#bound = bound;
    this.#order = order;
  }

  /** How many came after the bound, among those that were put in order by {@link first}. */
  get dropped(): number {
    return this.#dropped;
  }

  add(item: T): void {
    if (this.#last !== undefined && this.#order.isAfter?.(item, this.#last)) {
      this.#dropped += 1;
      return;
    }
    this.#items.push(item);
    if (this.#items.length >= this.#bound + BATCH) this.#cut();
  }

  /** The first of all that were added, in their order. */
  first(): T[] {
    this.#cut();
    return this.#items;
  }

  #cut(): void {
    const ordered = this.#order.sort(this.#items);
    this.#items = ordered.slice(0, this.#bound);
    this.#dropped += ordered.length - this.#items.length;
    if (ordered.length > this.#bound) this.#last = this.#items.at(-1);
  }
}
