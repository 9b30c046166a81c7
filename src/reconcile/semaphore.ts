/** At most so many at a time; whoever waits longest is next. */
export class Semaphore {
  /** How many more may go on now; while anybody waits, 0. */
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param permits - how many may hold one at a time, at least 1. */
  constructor(permits: number) {
    this.#free = permits;
  }

  /** Runs `work` when its turn has come. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The permit is handed on, so that nobody who comes later gets in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
