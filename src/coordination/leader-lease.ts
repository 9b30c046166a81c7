import { Stopwatch } from "../clock.ts";
import { makeNonce } from "../random.ts";
import type { LeaseHolder, LeaseView } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { LeaderSettings } from "./leader-settings.ts";
import type { Leadership, LeadershipGrant } from "./leadership.ts";
import { pause } from "./pause.ts";

/** What came of asking for the lease. */
export type Candidacy =
  | { readonly status: "granted"; readonly grant: LeadershipGrant }
  | { readonly status: "held"; readonly by: LeaseView };

/** The lease of an election as one candidate sees it in the store. */
export class LeaderLease {
  readonly #settings: LeaderSettings;
  /**
   * Names one acquisition. Kept until that is known to be ours, whatever is answered before: a request that was thought lost may still
   * arrive, and is then found out by the next one.
   */
  #nonce: string | undefined;

  constructor(settings: LeaderSettings) {
    this.#settings = settings;
  }

  /**
   * Asks for the lease once. The store alone judges whether the one before has lapsed.
   * @throws what the store did, when it failed until the budget was used up.
   */
  async acquire(): Promise<Candidacy> {
    const { store, name, identity, leaseDurationMs, clock, random, callBudgetMs } = this.#settings;
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
   * Renews until the leadership is over, and ends it when the store says that the lease is another's. A renewal that fails changes nothing
   * but what is left.
   * @param onError - gets what the store failed with.
   */
  async keepRenewed(leadership: Leadership, onError: (error: unknown) => void): Promise<void> {
    const { store, leaseDurationMs, clock, random, callBudgetMs, retryPeriodMs } = this.#settings;
    const request = { ...this.#holder(leadership.epoch), durationMs: leaseDurationMs };
    // Little may be left of a lease whose grant was heard of late.
    await pause(clock, Math.min(retryPeriodMs, Math.max(0, leadership.leftMs() / 2)), leadership.over);
    while (leadership.isHeld()) {
      const since = new Stopwatch(clock);
      try {
        const result = await storeOperation({
          clock,
          random,
          budgetMs: Math.min(callBudgetMs, leadership.leftMs()),
          signal: leadership.over,
          send: (call) => store.leases.renew(request, call),
        });
        if (result.status !== "renewed") return leadership.end(result.status);
        leadership.confirm(since, this.#validMs(result.remainingMs));
      } catch (error) {
        if (!leadership.over.aborted) onError(error);
      }
      await pause(clock, Math.max(0, retryPeriodMs - since.elapsedMs()), leadership.over);
    }
  }

  /**
   * Gives the lease up, so that the next leader need not wait until it has lapsed.
   * @throws what the store did; the lease then lapses.
   */
  async release(epoch: number): Promise<void> {
    const { store, clock, random, retryPeriodMs } = this.#settings;
    const holder = this.#holder(epoch);
    await storeOperation({
      clock,
      random,
      budgetMs: retryPeriodMs,
      send: (call) => store.leases.release(holder, call),
    });
  }

  #holder(epoch: number): LeaseHolder {
    return { name: this.#settings.name, holder: this.#settings.identity, epoch };
  }

  /** Our deadline is as much earlier than the store's where less than the whole lease is left, as after a lost reply. */
  #validMs(remainingMs: number): number {
    const { leaseDurationMs, renewDeadlineMs } = this.#settings;
    return renewDeadlineMs - Math.max(0, leaseDurationMs - remainingMs);
  }
}
