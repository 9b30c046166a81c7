/**
 * The server's clock, as far as updates tell it: it goes on between them, and stands still while the stream is lost, since nothing
 * that was seen before grows older in a way that anybody knows.
 */
export class ServerClock {
  #at = Date.now();
  #seen = performance.now();
  #stoppedAt: number | undefined;

  /** An update of this moment has come. */
  set(at: number): void {
    this.#at = at;
    this.#seen = performance.now();
    this.#stoppedAt = undefined;
  }

  /** The stream is lost. */
  stop(): void {
    this.#stoppedAt ??= this.now();
  }

  /** Epoch milliseconds. */
  now(): number {
    return this.#stoppedAt ?? this.#at + this.sinceUpdateMs();
  }

  /** For how long there has been no update. */
  sinceUpdateMs(): number {
    return performance.now() - this.#seen;
  }
}
