/**
 * Ledgers are cut into buckets by the first ten bits of the records' ids. All keys of a bucket share a hash tag, so that one
 * script can reach a record, its steps and the index in which it is; ids begin with their bucket, so that going through
 * the buckets in order is going through the ids in order.
 *
 * 1,024 of them spread a ledger over the nodes of a cluster to within a few per cent, keep the index of ten million records
 * at ten thousand a bucket, and are still listed in a few round trips.
 */
export const BUCKETS = 1_024;

/** What all keys begin with, unless it is said otherwise. */
export const DEFAULT_KEY_PREFIX = "evenkeel:";

/** The names of the keys of a ledger. No text of a user is ever part of one. */
export class RedisKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  record(id: string): string {
    return `${this.#bucket(bucketOf(id))}:x:${id}`;
  }

  /** The keys of all records, as a pattern of SCAN. */
  get records(): string {
    return `${this.#prefix.replace(/[\\*?[\]]/g, "\\$&")}{???}:x:*`;
  }

  steps(id: string): string {
    return `${this.#bucket(bucketOf(id))}:s:${id}`;
  }

  /** Which format the ledger has, if it is not the first: later versions write it. */
  get format(): string {
    return `${this.#prefix}format`;
  }

  /** The ids of a bucket by the moment at which they expire. */
  index(bucket: number): string {
    return `${this.#bucket(bucket)}:index`;
  }

  /** The last token that was granted in a bucket. */
  token(bucket: number): string {
    return `${this.#bucket(bucket)}:token`;
  }

  get leases(): string {
    return `${this.#prefix}{leases}:x`;
  }

  /** The names of the leases by the moment at which they lapse. */
  get leaseIndex(): string {
    return `${this.#prefix}{leases}:index`;
  }

  /** The last epoch that was granted. */
  get epoch(): string {
    return `${this.#prefix}{leases}:token`;
  }

  /** Where it is told that a record may have been settled. */
  channel(id: string): string {
    return `${this.#prefix}wake:${id}`;
  }

  #bucket(bucket: number): string {
    return `${this.#prefix}{${(bucket * 4).toString(16).padStart(3, "0")}}`;
  }
}

export function bucketOf(id: string): number {
  return Number.parseInt(id.slice(0, 3), 16) >> 2;
}
