import type { StoreCall } from "../store.ts";

/**
 * What {@link keyedStore} needs of an engine: one atomic step over texts by key. A file that is replaced whole, an object that is
 * replaced if nobody else did, an embedded key-value database: all of them can do that.
 */
export interface KeyedEngine {
  /** What error messages call the store. */
  readonly name: string;
  /** The store's clock in epoch milliseconds: the same for every process on the ledger. */
  now(): number;
  /**
   * Calls `work`, keeps what it wrote, and then answers what it returned. One step: between its reads and its writes nobody else
   * writes, and either all that it wrote is durable or nothing. What `work` throws is thrown, and nothing is kept.
   *
   * `work` may be called again from the start, say after somebody else was faster: it keeps nothing outside of the transaction.
   * What fails otherwise may throw anything; that leaves open whether the step happened. Does not begin when `call.timeoutMs`
   * has passed: `STORE_UNAVAILABLE` without a cause says that nothing was done.
   */
  transact<T>(work: (tx: KeyedTransaction) => T, call: StoreCall): Promise<T>;
  /** Called once, when the store is closed. */
  close?(): Promise<void>;
}

/** Texts by key, as one step sees them: what it wrote it reads back. */
export interface KeyedTransaction {
  get(key: string): string | undefined;
  set(key: string, text: string): void;
  delete(key: string): void;
  /** The keys that begin so, in any order. They may hold any character. */
  keys(prefix: string): Iterable<string>;
}
