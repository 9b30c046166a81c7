import type { AcquiredClaim, ClaimRequest, ClaimResult, StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { grantOf } from "../unconfirmed-grant.ts";
import { asBefore } from "./attempt.ts";
import type { Execution } from "./execution-call.ts";

/**
 * Sends the claims of one call, all under one nonce. A try whose answer nobody waited for may still be granted, before or
 * after the call is over, and so may one that too few replicas have: such a grant is undone, or it would block the key for a
 * lease and then pass for an attempt that fell silent.
 */
export class Claimant<O> {
  readonly #execution: Execution<O>;
  /** Once no more claims are sent: under which token the call runs, if it runs. */
  #settled: { readonly token: number | undefined } | undefined;
  /** Grants of which it isn't known yet whether the call will run under them. */
  #strays: AcquiredClaim[] = [];

  constructor(execution: Execution<O>) {
    this.#execution = execution;
  }

  /** @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`; or the reason of the caller's signal. */
  send(): Promise<ClaimResult> {
    const { call, id, nonce, settings } = this.#execution;
    const { operation, scope, key, fingerprint, signal } = call;
    const { clock, random, leaseMs, retentionMs, storeTimeoutMs } = settings;
    const onAbandoned = settings.onAbandoned === "reject" ? "report" : "takeover";
    const identity = { id, operation, scope, key, ...(fingerprint === undefined ? {} : { fingerprint }) };
    const request = { ...identity, nonce, leaseMs, retentionMs, onAbandoned } as const;
    return storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      signal,
      send: (bounds) => this.#claim(request, bounds),
      // A store that gives its answer up when nobody waits any more would keep from us that it has granted the claim.
      strayMs: storeTimeoutMs,
      onStrayAnswer: (answer) => {
        if (answer.status === "acquired") this.#onStray(answer);
      },
    });
  }

  /** No more claims are sent: the call runs under this token, or is over. */
  settle(token: number | undefined): void {
    this.#settled = { token };
    for (const stray of this.#strays.splice(0)) this.#onStray(stray);
  }

  #claim(request: ClaimRequest, bounds: StoreCall): Promise<ClaimResult> {
    const answer = this.#execution.settings.store.executions.claim(request, bounds);
    // Beside the call: whoever claims next must not overtake it by the turns that this takes.
    answer.then(undefined, (error: unknown) => {
      const grant = grantOf(error);
      if (grant !== undefined) this.#onStray(grant);
    });
    return answer;
  }

  #onStray(claim: AcquiredClaim): void {
    if (this.#settled === undefined) {
      this.#strays.push(claim);
      return;
    }
    if (claim.token === this.#settled.token) return;
    const { id, nonce, settings } = this.#execution;
    const { store, retentionMs, storeTimeoutMs } = settings;
    const request = { id, token: claim.token, nonce, as: asBefore(claim, retentionMs) };
    // If this fails too, the lease runs out.
    store.executions.release(request, { timeoutMs: storeTimeoutMs }).catch(() => {});
  }
}
