import { type Clock, Stopwatch } from "../clock.ts";
import { makeNonce, type Random } from "../random.ts";
import type { LeaseHolder, LeaseStore, LeaseView } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { LeaseGrant, LeaseTerm } from "./lease-term.ts";

/** What came of asking for the lease. */
export type Candidacy =
  | { readonly status: "granted"; readonly grant: LeaseGrant }
  | { readonly status: "held"; readonly by: LeaseView };

/** How one lease is held. All durations in milliseconds. */
export interface LeaseTerms {
  readonly store: { readonly leases: Pick<LeaseStore, "acquire" | "renew" | "release"> };
  readonly name: string;
  /** Of the holder. */
  readonly identity: string;
  readonly leaseDurationMs: number;
  /** Counted from before the last confirmed renewal was sent. */
  readonly renewDeadlineMs: number;
  /** From one renewal to the next. */
  readonly renewIntervalMs: number;
  /** From a renewal that failed to the next. */
  readonly retryPeriodMs: number;
  /** How long one acquisition or renewal may take. */
  readonly callBudgetMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** A lease as one who wants it, or has it, sees it in the store. */
export class HeldLease {
  readonly #terms: LeaseTerms;
  /**
   * Names one acquisition. Kept until that is known to be ours, whatever is answered before: a request that was thought lost may still
   * arrive, and is then found out by the next one.
   */
  #nonce: string | undefined;

  constructor(terms: LeaseTerms) {
    this.#terms = terms;
  }

  /** Whether we asked for it and were not told that it is ours: a request that was thought lost may have got it. */
  get isAskedFor(): boolean {
    return this.#nonce !== undefined;
  }

  /**
   * Asks for the lease once. The store alone judges whether the one before has lapsed.
   * @throws what the store did, when it failed until the budget was used up.
   */
  async acquire(): Promise<Candidacy> {
    const { store, name, identity, leaseDurationMs, clock, random, callBudgetMs } = this.#terms;
    this.#nonce ??= makeNonce(random);
    const request = { name, holder: identity, nonce: this.#nonce, durationMs: leaseDurationMs };
    const since = new Stopwatch(clock);
    const result = await storeOperation({
      clock,
      random,
      budgetMs: callBudgetMs,
      send: (call) => store.leases.acquire(request, call),
    });
    if (result.status === "held") return { status: "held", by: result };
    this.#nonce = undefined;
    const { epoch, remainingMs } = result;
    return { status: "granted", grant: { epoch, since, forMs: this.#validMs(remainingMs) } };
  }

  /**
   * Renews until the term is over, and ends that when the store says that the lease is another's. A renewal that fails changes nothing
   * but what is left.
   * @param onError - gets what the store failed with.
   */
  async keepRenewed<Why extends string>(term: LeaseTerm<Why>, onError: (error: unknown) => void): Promise<void> {
    const { store, leaseDurationMs, clock, random, callBudgetMs, renewIntervalMs, retryPeriodMs } = this.#terms;
    const request = { ...this.#holder(term.epoch), durationMs: leaseDurationMs };
    // Little may be left of a lease whose grant was heard of late.
    await term.rest(Math.min(renewIntervalMs, Math.max(0, term.leftMs() / 2)));
    while (!term.over.aborted) {
      let nextMs = renewIntervalMs;
      const since = new Stopwatch(clock);
      try {
        const result = await storeOperation({
          clock,
          random,
          budgetMs: Math.min(callBudgetMs, term.leftMs()),
          signal: term.over,
          send: (call) => store.leases.renew(request, call),
        });
        if (result.status !== "renewed") return term.end(result.status);
        term.confirm(since, this.#validMs(result.remainingMs));
      } catch (error) {
        if (!term.over.aborted) onError(error);
        term.unconfirmed();
        nextMs = retryPeriodMs;
      }
      await term.rest(Math.max(0, nextMs - since.monotonicMs()));
    }
  }

  /**
   * Gives the lease up, so that the next leader need not wait until it has lapsed.
   * @throws what the store did; the lease then lapses.
   */
  async release(epoch: number): Promise<void> {
    const { store, clock, random, retryPeriodMs } = this.#terms;
    const holder = this.#holder(epoch);
    await storeOperation({
      clock,
      random,
      budgetMs: retryPeriodMs,
      send: (call) => store.leases.release(holder, call),
    });
  }

  #holder(epoch: number): LeaseHolder {
    return { name: this.#terms.name, holder: this.#terms.identity, epoch };
  }

  /** Our deadline is as much earlier than the store's where less than the whole lease is left, as after a lost reply. */
  #validMs(remainingMs: number): number {
    const { leaseDurationMs, renewDeadlineMs } = this.#terms;
    return renewDeadlineMs - Math.max(0, leaseDurationMs - remainingMs);
  }
}
