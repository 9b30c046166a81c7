import { onAbort } from "../abort-listeners.ts";

/** One that waits. */
interface Waiter<Value> {
  give(value: Value): void;
}

/** Those who wait for a value, first come, first served. */
export class Waiters<Value> {
  /** In the order of arrival. */
  readonly #waiters = new Set<Waiter<Value>>();

  get size(): number {
    return this.#waiters.size;
  }

  /** Waits for a value; rejects with the signal's reason when it aborts first, and then takes none. */
  wait(signal: AbortSignal | undefined): Promise<Value> {
    return new Promise((resolve, reject) => {
      const stopListening = onAbort(signal, () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      });
      const waiter = {
        give: (value: Value): void => {
          stopListening();
          resolve(value);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  /** Gives whoever has waited longest what `take` returns. `take` isn't called when nobody waits, and sees the rest waiting. */
  serve(take: () => Value): void {
    const [first] = this.#waiters;
    if (first === undefined) return;
    // Before anything is taken: what taking sets off must not serve the same one.
    this.#waiters.delete(first);
    first.give(take());
  }

  /** Gives everybody the same. */
  serveAll(value: Value): void {
    while (this.#waiters.size > 0) this.serve(() => value);
  }
}
