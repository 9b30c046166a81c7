/** Those in this process who want to know when a record may have been settled. */
export class Watchers {
  readonly #byId = new Map<string, Set<() => void>>();

  /** Calls `wake` whenever the record is woken. Returns what ends that. */
  watch(id: string, wake: () => void): () => void {
    const listeners = this.#byId.get(id) ?? new Set();
    this.#byId.set(id, listeners.add(wake));
    return () => {
      listeners.delete(wake);
      if (listeners.size === 0) this.#byId.delete(id);
    };
  }

  wake(id: string): void {
    for (const listener of [...(this.#byId.get(id) ?? [])]) listener();
  }
}
