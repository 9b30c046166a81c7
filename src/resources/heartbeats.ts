import { afterPendingIo, type Clock } from "../clock.ts";
import { isEvenkeelError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { HeartbeatRequest, HeartbeatResult, LedgerStore } from "../store.ts";
import { storeOperation } from "../store-operation.ts";

/** More than this in one call would hold up who writes to the group. */
const MOST_BEATS_A_CALL = 1_000;

export interface HeartbeatTerms {
  readonly store: LedgerStore;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds that a call may take, its repetitions included. */
  readonly storeTimeoutMs: number;
}

/** A beat, and everybody who waits for its answer. */
interface PendingBeat {
  readonly beat: HeartbeatRequest["beats"][number];
  readonly answers: { resolve(status: HeartbeatResult["status"]): void; reject(error: unknown): void }[];
}

/**
 * Sends the heartbeats of one group: those of one turn of the event loop in one call, the same one once.
 */
export class Heartbeats {
  readonly #terms: HeartbeatTerms;
  /** A flush is due whenever there are any. */
  #pending = new Map<string, PendingBeat>();

  constructor(terms: HeartbeatTerms) {
    this.#terms = terms;
  }

  /**
   * One beat.
   * @param incarnation - Defaults to the newest.
   * @throws EvenkeelError `STORE_UNAVAILABLE`: whether it was stamped is unknown. Any other of the store's as it is.
   */
  send(id: string, incarnation: number | undefined): Promise<HeartbeatResult["status"]> {
    return new Promise((resolve, reject) => {
      if (this.#pending.size === 0) afterPendingIo(() => this.#flush());
      const name = `${incarnation ?? "newest"} ${id}`;
      const pending = this.#pending.get(name) ?? {
        beat: incarnation === undefined ? { id } : { id, incarnation },
        answers: [],
      };
      pending.answers.push({ resolve, reject });
      this.#pending.set(name, pending);
    });
  }

  #flush(): void {
    const pending = [...this.#pending.values()];
    this.#pending = new Map();
    for (let start = 0; start < pending.length; start += MOST_BEATS_A_CALL) {
      void this.#sendBatch(pending.slice(start, start + MOST_BEATS_A_CALL));
    }
  }

  async #sendBatch(batch: readonly PendingBeat[]): Promise<void> {
    const { store, group, clock, random, storeTimeoutMs } = this.#terms;
    try {
      const beats = batch.map(({ beat }) => beat);
      const results = await storeOperation({
        clock,
        random,
        budgetMs: storeTimeoutMs,
        send: (call) => store.resources.heartbeat({ group, beats }, call),
      });
      batch.forEach(({ answers }, at) => {
        const status = results[at]?.status;
        for (const { resolve, reject } of answers) {
          if (status === undefined) reject(new TypeError("The store answered fewer heartbeats than it was sent."));
          else resolve(status);
        }
      });
    } catch (error) {
      // One row that can't be read must not silence the others, which would be taken for dead.
      if (batch.length > 1 && isEvenkeelError(error) && error.code === "RECORD_CORRUPT") {
        const middle = batch.length >>> 1;
        await Promise.all([this.#sendBatch(batch.slice(0, middle)), this.#sendBatch(batch.slice(middle))]);
        return;
      }
      for (const { answers } of batch) for (const { reject } of answers) reject(error);
    }
  }
}
