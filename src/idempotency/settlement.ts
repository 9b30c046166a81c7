import { Stopwatch } from "../clock.ts";
import { EvenkeelError, type EvenkeelErrorCode } from "../errors.ts";
import { errorTypeOf, type LeaseLossReason, markAttempt } from "../events.ts";
import { sameFingerprint } from "../execution-record.ts";
import type {
  CommittedOutcome,
  CompleteResult,
  Holder,
  ReleaseRequest,
  ReleaseResult,
  StoreCall,
  StoredOutcome,
} from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { EventDetails, Execution, IdempotentResult } from "./execution-call.ts";
import type { ClaimedContext, Offer } from "./execution-context.ts";
import type { Lease } from "./lease-renewal.ts";
import type { Settled } from "./outcome.ts";
import { isTraceparent, sameOutcome, withTraceparent } from "./sealed-outcome.ts";
import type { ErrorDisposition } from "./settings.ts";
import { waitForSettlement } from "./waiting.ts";

/** By what events tell which attempt they are of. */
interface AttemptMark {
  readonly attempt: number;
  readonly fencingToken: number;
}

/** The events that tell which attempt they are of, without that. */
type AttemptDetails = EventDetails extends infer Details
  ? Details extends { attempt: number; fencingToken: number }
    ? Omit<Details, keyof AttemptMark>
    : never
  : never;

/**
 * How an attempt ends: its outcome becomes durable before the caller has it, an error frees the key, and a stale attempt
 * finds out that it is one. It never overwrites another attempt's outcome, and never deletes a claim whose effect happened.
 */
export class Settlement<O> {
  readonly #execution: Execution<O>;
  readonly #holder: Holder;
  readonly #attempt: number;
  readonly #mark: AttemptMark;
  readonly #lease: Lease;
  readonly #started: Stopwatch;
  /** When the last commit was sent; before one, when the attempt began. */
  #commitSent: Stopwatch;
  #leaseLossTold = false;
  #traceparent: string | undefined;

  constructor(execution: Execution<O>, holder: Holder, attempt: number, lease: Lease, started: Stopwatch) {
    this.#execution = execution;
    this.#holder = holder;
    this.#attempt = attempt;
    this.#mark = markAttempt({ attempt, fencingToken: holder.token });
    this.#lease = lease;
    this.#started = started;
    this.#commitSent = started;
  }

  /** The function is about to run. Whoever listens may say now by which trace context its outcome is to be known. */
  begin(): void {
    let isListening = true;
    const keepTraceparent = (traceparent: string): void => {
      if (isListening && isTraceparent(traceparent)) this.#traceparent = traceparent;
    };
    this.tell({ type: this.#attempt === 1 ? "claimed" : "taken_over", keepTraceparent });
    isListening = false;
  }

  /** The function returned. */
  async succeed(value: O, context: ClaimedContext): Promise<IdempotentResult<O>> {
    const { codec, id, settings } = this.#execution;
    const returned: Offer = { encoded: codec.encodeValue(id, value), value };
    const offers = [...context.offered, returned];
    if (context.durable !== undefined) return this.#completed(context.durable, offers);
    let result: CompleteResult;
    try {
      result = await this.commit(returned.encoded.outcome);
    } catch (error) {
      // The effect happened: the claim stays, so that nobody runs it again inside the lease.
      this.tell({ type: "complete_failed", error });
      if (settings.onCompleteFailure === "throw") throw error;
      return this.#own(returned);
    }
    if (result.status === "committed") return this.#completed(result, offers);
    this.tell({ type: "stale_write" });
    return this.#stale(result, { ok: true, value: this.#own(returned) });
  }

  /** The function threw. What it threw reaches the caller unchanged, unless another attempt's outcome stands. */
  async fail(error: unknown, context: ClaimedContext): Promise<IdempotentResult<O>> {
    if (context.durable !== undefined) return this.#failAfter(context.durable, context.offered, error);
    const disposition = context.wasInterrupted(error) ? "interrupt" : this.#dispositionOf(error);
    let result: CompleteResult | ReleaseResult;
    try {
      result = await this.#settleError(error, disposition);
    } catch (cause) {
      // The key stays claimed until the lease runs out: the caller's own error matters more than that.
      this.tellStoreError(cause);
      throw error;
    }
    switch (result.status) {
      case "released":
        this.tell({ type: "released", ...(disposition === "retry" ? {} : { errorType: errorTypeOf(error) }) });
        throw error;
      case "committed":
        return this.#failAfter(result, context.offered, error);
      case "missing":
        // And with it whoever won: there is nothing to adopt.
        this.tellLeaseLost("missing", { error });
        throw error;
      case "lost":
      case "finalized":
        return this.#stale(result, { ok: false, error });
    }
  }

  /** This attempt's outcome stands: what it threw afterwards concerns its caller alone. */
  #failAfter(committed: CommittedOutcome, offers: readonly Offer[], error: unknown): never {
    this.#tellCompleted(committed, standing(offers, committed), { errorType: errorTypeOf(error) });
    throw error;
  }

  /** Commits an outcome of this attempt; the same one twice is harmless. */
  async commit(outcome: StoredOutcome): Promise<CompleteResult> {
    const { settings } = this.#execution;
    const { retentionMs } = settings;
    this.#commitSent = new Stopwatch(settings.clock);
    const request = { ...this.#holder, outcome: this.traced(outcome), retentionMs };
    return this.ask((bounds) => settings.store.executions.complete(request, bounds));
  }

  /** The outcome with the trace context of this attempt, where one is kept. */
  traced(outcome: StoredOutcome): StoredOutcome {
    if (this.#traceparent === undefined) return outcome;
    return withTraceparent(this.#execution.id, outcome, this.#traceparent);
  }

  async release(as: ReleaseRequest["as"]): Promise<ReleaseResult> {
    const { store } = this.#execution.settings;
    const wasHeld = this.#lease.leftMs() > 0;
    let isRepeated = false;
    const onUnknown = (): void => {
      isRepeated = true;
    };
    const result = await this.ask((bounds) => store.executions.release({ ...this.#holder, as }, bounds), onUnknown);
    if (!wasHeld || !isRepeated || this.#isForThisCaller(result)) return result;
    // The first try was carried out and its answer lost: whoever has the record now got it from us.
    return { status: "released" };
  }

  /**
   * Whether an outcome stands that every call with this payload gets. Whose it is can't be told: another caller's after our release, or
   * an operator's who seized the record before it.
   */
  #isForThisCaller(result: ReleaseResult): boolean {
    if (result.status === "committed") return true;
    return result.status === "finalized" && sameFingerprint(result.fingerprint, this.#execution.call.fingerprint);
  }

  /** A store operation under this attempt's lease. */
  ask<T>(send: (bounds: StoreCall) => Promise<T>, onUnknown: () => void = () => {}): Promise<T> {
    const { clock, random } = this.#execution.settings;
    return storeOperation({ clock, random, budgetMs: this.#lease.callBudgetMs(), send, onUnknown });
  }

  tell(event: AttemptDetails): void {
    this.#execution.tell({ ...event, ...this.#mark } as EventDetails);
  }

  tellLeaseLost(reason: LeaseLossReason, own?: { readonly error: unknown }): void {
    if (this.#leaseLossTold && own === undefined) return;
    this.#leaseLossTold = true;
    this.tell({ type: "lease_lost", reason, ...own });
  }

  /** The store failed for good, and with that the attempt is over: its claim stays until its lease runs out. */
  tellStoreError(error: unknown): void {
    this.#execution.tell({ type: "store_error", error, ranUnprotected: false, ...this.#mark });
  }

  /** The caller was turned away, and the attempt is over. */
  tellRejected(code: EvenkeelErrorCode): void {
    this.#execution.tell({ type: "rejected", code, ...this.#mark });
  }

  #dispositionOf(error: unknown): ErrorDisposition {
    const { onError } = this.#execution.settings;
    if (typeof onError !== "function") return onError;
    try {
      const answer = onError(error);
      return answer === "store" || answer === "retry" ? answer : "release";
    } catch {
      // The function's own error must reach the caller, not that of a policy.
      return "release";
    }
  }

  #settleError(
    error: unknown,
    disposition: "release" | "store" | "retry" | "interrupt",
  ): Promise<CompleteResult | ReleaseResult> {
    const { codec, id, settings } = this.#execution;
    const { retentionMs } = settings;
    switch (disposition) {
      case "store":
        return this.commit(codec.encodeError(id, error).outcome);
      case "interrupt":
        // Its steps are worth more than a free key: the next attempt goes on from them.
        return this.release({ mode: "abandon", attempt: this.#attempt, retentionMs });
      case "retry":
        // Nothing ran under this claim: it doesn't count as an attempt.
        if (this.#attempt === 1) return this.release({ mode: "forget" });
        return this.release({ mode: "retry", attempt: this.#attempt - 1, retentionMs });
      case "release":
        return this.release({ mode: "forget" });
    }
  }

  /** Which of the offers stands is the store's word: every caller gets that one, this one included. */
  #completed(committed: CommittedOutcome, offers: readonly Offer[]): IdempotentResult<O> {
    const { outcome, attempt, completedAt } = committed;
    const stands = standing(offers, committed);
    const returned = offers.at(-1);
    if (returned !== undefined && !sameOutcome(returned.encoded.outcome, outcome))
      this.tell({ type: "outcome_ignored" });
    this.#tellCompleted(committed, stands);
    if (stands !== undefined) return { ...this.#own(stands), attempt, completedAt };
    const decoded = this.#execution.codec.decode(this.#execution.id, outcome);
    if (!decoded.ok) throw decoded.error;
    return { value: decoded.value as O, replayed: false, attempt, completedAt };
  }

  #tellCompleted(
    committed: CommittedOutcome,
    offer: Offer | undefined,
    failure?: { readonly errorType: string },
  ): void {
    if (offer !== undefined && "tombstone" in offer.encoded) {
      this.tell({ type: "tombstoned", reason: offer.encoded.tombstone });
    }
    this.tell({ type: "completed", durationMs: this.#started.elapsedMs(), ...failure });
    this.#execution.remember(committed, this.#commitSent);
  }

  /** This attempt's own outcome as its caller gets it: as a replay would be, where there can be one. */
  #own({ encoded, value }: Offer): IdempotentResult<O> {
    const seen = ("replay" in encoded && encoded.replay.ok ? encoded.replay.value : value) as O;
    const completedAt = this.#execution.settings.clock.now();
    return { value: seen, replayed: false, attempt: this.#attempt, completedAt };
  }

  /** Another attempt holds the record, or has settled it. */
  async #stale(
    result: { readonly status: "lost" | "missing" } | ({ readonly status: "finalized" } & CommittedOutcome),
    own: Settled<IdempotentResult<O>>,
  ): Promise<IdempotentResult<O>> {
    const { onLeaseLost } = this.#execution.settings;
    this.tellLeaseLost(result.status, own.ok ? undefined : { error: own.error });
    if (onLeaseLost === "own") {
      if (own.ok) return own.value;
      throw own.error;
    }
    const cause = own.ok ? undefined : { cause: own.error };
    if (onLeaseLost === "throw") throw leaseLost(cause);
    const winner = "outcome" in result ? result : result.status === "lost" ? await this.#awaitWinner() : undefined;
    // The key may have gone on to another payload, whose outcome is not for this caller.
    if (winner === undefined || !sameFingerprint(winner.fingerprint, this.#execution.call.fingerprint)) {
      throw leaseLost(cause);
    }
    const adopted = this.#execution.codec.decode(this.#execution.id, winner.outcome);
    if (!adopted.ok) throw adopted.error;
    const { attempt, completedAt } = winner;
    return { value: adopted.value as O, replayed: true, attempt, completedAt };
  }

  async #awaitWinner(): Promise<CommittedOutcome | undefined> {
    const { settings, id, call } = this.#execution;
    const { store, clock, random, storeTimeoutMs, maxWaitMs } = settings;
    const { signal } = call;
    this.#lease.stop();
    try {
      const waited = await waitForSettlement({
        store,
        id,
        clock,
        random,
        storeTimeoutMs,
        timeoutMs: maxWaitMs,
        signal,
      });
      if (waited.kind === "completed") return waited.view;
      waited.done();
      return undefined;
    } catch {
      signal?.throwIfAborted();
      return undefined;
    }
  }
}

/** The first offer that is what was committed. */
function standing(offers: readonly Offer[], { outcome }: CommittedOutcome): Offer | undefined {
  return offers.find(({ encoded }) => sameOutcome(encoded.outcome, outcome));
}

/** The error of an attempt whose claim is no longer its own. */
export function leaseLost(options?: ErrorOptions): EvenkeelError {
  return new EvenkeelError(
    "LEASE_LOST",
    "The lease of this execution was lost to time or to another attempt.",
    options,
  );
}
