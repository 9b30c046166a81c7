/** Lets one thing at a time be done to a slot, in the order of asking. */
export class SlotTurns {
  /** What each slot's last comer waits for, as long as there is one. */
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `work` once all that was asked for this slot before has ended. */
  async run<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id);
    let end!: () => void;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#last.set(id, ended);
    try {
      if (before !== undefined) await before;
      return await work();
    } finally {
      if (this.#last.get(id) === ended) this.#last.delete(id);
      end();
    }
  }
}
