import { type Clock, Stopwatch, type Timer } from "../clock.ts";
import type { LeaseLossReason } from "../events.ts";
import type { Random } from "../random.ts";
import type { Holder, LedgerStore } from "../store.ts";
import { storeOperation } from "../store-operation.ts";

/** Our deadline is earlier than the store's by a tenth of the lease, at most this: clocks don't run at one speed. */
const LARGEST_MARGIN_MS = 1_000;

export interface LeaseTerms {
  readonly store: LedgerStore;
  readonly holder: Holder;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly storeTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Called once, when the lease is no longer ours or can't be shown to be. Never after {@link Lease.stop}. */
  readonly onLost: (reason: LeaseLossReason) => void;
}

/**
 * A lease as its holder sees it: valid until a deadline that is never later than the store's, because it counts from before
 * the request was sent. Renewed every third of its length, one call at a time.
 *
 * Kleppmann, "How to do distributed locking" (2016), says why a lease alone doesn't fence: that is the token's work.
 */
export class Lease {
  readonly #terms: LeaseTerms;
  readonly #marginMs: number;
  /** What the store granted, counted from before it was asked. */
  #granted: { readonly since: Stopwatch; readonly forMs: number };
  #timer: Timer | undefined;
  #stopped = false;
  /** Ends the renewal that is under way: after the stop its answer interests nobody. */
  #renewal: AbortController | undefined;

  /** @param sentAt - started before the claim was sent. @param remainingMs - what the store said was left. */
  constructor(terms: LeaseTerms, sentAt: Stopwatch, remainingMs: number) {
    this.#terms = terms;
    this.#marginMs = Math.min(terms.leaseMs / 10, LARGEST_MARGIN_MS);
    this.#granted = { since: sentAt, forMs: remainingMs };
  }

  /** Milliseconds until our own deadline; negative after it. */
  leftMs(): number {
    return this.#granted.forMs - this.#marginMs - this.#granted.since.elapsedMs();
  }

  /** The budget of a store call made under this lease. */
  callBudgetMs(): number {
    const leftMs = this.leftMs();
    // After the deadline the store decides by the token alone, so there is nothing left to be in time for.
    return leftMs > 0 ? Math.min(this.#terms.storeTimeoutMs, leftMs) : this.#terms.storeTimeoutMs;
  }

  /** Begins to renew. The timer keeps the process alive until {@link stop}. */
  start(): void {
    const { since, forMs } = this.#granted;
    this.#arm(forMs / 3 - since.elapsedMs(), () => this.#renew());
  }

  /** Ends the renewal and its timer. */
  stop(): void {
    this.#stopped = true;
    this.#renewal?.abort();
    this.#timer?.clear();
    this.#timer = undefined;
  }

  #arm(ms: number, fire: () => void): void {
    this.#timer?.clear();
    this.#timer = this.#terms.clock.setTimer(Math.max(0, ms), fire);
  }

  #lose(reason: LeaseLossReason): void {
    this.stop();
    this.#terms.onLost(reason);
  }

  async #renew(): Promise<void> {
    const { store, holder, leaseMs, retentionMs, clock, random } = this.#terms;
    const leftMs = this.leftMs();
    if (leftMs <= 0) return this.#lose("deadline");
    // Guards the deadline also while the renewal hangs.
    this.#arm(leftMs, () => this.#lose("deadline"));
    const since = new Stopwatch(clock);
    this.#renewal = new AbortController();
    try {
      const result = await storeOperation({
        clock,
        random,
        budgetMs: this.callBudgetMs(),
        signal: this.#renewal.signal,
        send: (call) => store.executions.renew({ ...holder, leaseMs, retentionMs }, call),
      });
      if (this.#stopped) return;
      switch (result.status) {
        case "renewed":
          this.#granted = { since, forMs: result.leaseRemainingMs };
          return this.start();
        case "finalized":
          // Our own completion, made inside the user's transaction, is there: nothing is left to hold.
          return this.stop();
        default:
          return this.#lose(result.status);
      }
    } catch {
      // Unknown. The deadline stands; until then it is worth asking again.
      if (!this.#stopped) this.#arm(Math.min(leaseMs / 10, Math.max(0, this.leftMs())), () => this.#renew());
    }
  }
}
