import { onAbort } from "../abort-listeners.ts";
import { EvenkeelError } from "../errors.ts";
import type {
  AcquiredClaim,
  CommittedOutcome,
  CompleteResult,
  LedgerStore,
  StepRecord,
  StoredOutcome,
} from "../store.ts";
import { derivedKey } from "./key.ts";
import type { EncodedOutcome, OutcomeCodec } from "./outcome.ts";
import { sameOutcome } from "./sealed-outcome.ts";
import { Steps } from "./steps.ts";

/** What a function is given beside its input. */
export interface ExecutionContext {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
  /** 1, and one more after each takeover. */
  readonly attempt: number;
  /** Rises strictly for a record, also across deletion and expiry: give it to targets that can refuse an older one. */
  readonly fencingToken: number;
  /** Aborted when the lease is lost or the caller's signal aborts. */
  readonly signal: AbortSignal;
  /**
   * Runs `fn` once per record: after a takeover its remembered outcome is returned instead. Steps have to be started in the
   * same order under the same names by every attempt; each name once.
   * @throws EvenkeelError `STEP_MISMATCH`, `LEASE_LOST`, `STORE_UNAVAILABLE`, `RESULT_NOT_REPLAYABLE`.
   */
  step<T>(name: string, fn: () => T | Promise<T>): Promise<T>;
  /** A key for a downstream API: the same on every attempt, and it gives nothing away of the client's. */
  deriveKey(label: string): string;
  /**
   * Makes the outcome durable now: what is thrown afterwards reaches this caller only. With `tx`, a transaction of the same
   * database, it counts once that commits; a stale attempt's completion throws there (synchronously where the driver is
   * synchronous), so that the transaction rolls back.
   * @throws EvenkeelError `LEASE_LOST` when another attempt took over; `INVALID_OPTIONS` when `tx` can't be used.
   */
  complete(value: unknown, tx?: unknown): Promise<void>;
}

/** What a context needs of the attempt that it belongs to. */
export interface ContextBinding {
  readonly id: string;
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
  readonly store: LedgerStore;
  readonly nonce: string;
  readonly claim: AcquiredClaim;
  readonly retentionMs: number;
  readonly codec: OutcomeCodec;
  /** The caller's own signal. */
  readonly callerSignal: AbortSignal | undefined;
  commit(outcome: StoredOutcome): Promise<CompleteResult>;
  /** The outcome with what of its origin is kept beside it. */
  traced(outcome: StoredOutcome): StoredOutcome;
  rememberStep(step: StepRecord): Promise<void>;
  /** The second of two different completions came to nothing. */
  onIgnored(): void;
}

/** The context of an attempt that holds a claim. */
export class ClaimedContext implements ExecutionContext {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
  readonly attempt: number;
  readonly fencingToken: number;
  readonly #binding: ContextBinding;
  readonly #steps: Steps;
  #controller: AbortController | undefined;
  #abortedWith: { readonly reason: unknown } | undefined;
  #leaseLost: EvenkeelError | undefined;
  #settled = false;
  readonly #stopListening: () => void;
  readonly #offered: Offer[] = [];
  #durable: CommittedOutcome | undefined;
  /** The errors by which we, and not the function's own failure, stop an attempt. */
  readonly #interruptions = new Set<unknown>();

  constructor(binding: ContextBinding) {
    this.operation = binding.operation;
    this.scope = binding.scope;
    this.key = binding.key;
    this.attempt = binding.claim.attempt;
    this.fencingToken = binding.claim.token;
    this.#binding = binding;
    // So that `(input, { step }) => …` works.
    this.step = this.step.bind(this);
    this.deriveKey = this.deriveKey.bind(this);
    this.complete = this.complete.bind(this);
    this.#steps = new Steps(binding.id, binding.codec, binding.claim.steps, (step) => this.#rememberStep(step));
    this.#stopListening = onAbort(binding.callerSignal, () => this.#abort(binding.callerSignal?.reason));
  }

  /** Made on first use: most functions never look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortedWith !== undefined) this.#controller.abort(this.#abortedWith.reason);
    }
    return this.#controller.signal;
  }

  /** The outcome that the function has made durable itself. */
  get durable(): CommittedOutcome | undefined {
    return this.#durable;
  }

  /** What the function has given to `complete()`, in this order; which of it stands is the store's to say. */
  get offered(): readonly Offer[] {
    return this.#offered;
  }

  /**
   * Whether an attempt that threw this was stopped by us and not by its own failure: its record and steps are then left to
   * a later attempt.
   */
  wasInterrupted(error: unknown): boolean {
    try {
      let thrown = error;
      for (let depth = 0; depth < MOST_CAUSES && thrown instanceof Error; depth += 1) {
        if (this.#interruptions.has(thrown)) return true;
        thrown = thrown.cause;
      }
    } catch {
      // Reading what was thrown may itself throw.
    }
    return false;
  }

  async step<T>(name: string, fn: () => T | Promise<T>): Promise<T> {
    this.#assertUnsettled();
    if (this.#leaseLost !== undefined) throw this.#leaseLost;
    try {
      return await this.#steps.run(name, fn);
    } catch (error) {
      if (error === this.#steps.mismatch) this.#interruptions.add(error);
      throw error;
    }
  }

  deriveKey(label: string): string {
    return derivedKey(this.#binding.id, label);
  }

  // Not an async function: inside a synchronous transaction a stale completion has to throw before the commit.
  complete(value: unknown, ...given: [tx?: unknown]): Promise<void> {
    this.#assertUnsettled();
    const [tx] = given;
    if (given.length > 0 && (tx === undefined || tx === null)) {
      // A variable that is empty by mistake must not take the outcome out of the transaction.
      throw new EvenkeelError("INVALID_OPTIONS", "ctx.complete: tx is empty: leave it out to complete without one.");
    }
    if (value instanceof Promise) {
      throw new EvenkeelError("INVALID_OPTIONS", "ctx.complete: the value is a promise: await it first.");
    }
    const encoded = this.#binding.codec.encodeValue(this.#binding.id, value);
    if (this.#durable !== undefined) {
      this.#tellIfIgnored(encoded, this.#durable.outcome);
      return Promise.resolve();
    }
    this.#offered.push({ encoded, value });
    return tx === undefined ? this.#completeNow(encoded) : this.#completeIn(tx, encoded);
  }

  /** The lease is gone: what the function does from now on may not count. */
  onLeaseLost(error: EvenkeelError): void {
    this.#leaseLost = error;
    this.#interruptions.add(error);
    this.#abort(error);
  }

  /** After the attempt nothing of the context does anything any more. */
  close(): void {
    this.#settled = true;
    this.#stopListening();
  }

  async #completeNow(encoded: EncodedOutcome): Promise<void> {
    const result = await this.#binding.commit(encoded.outcome);
    if (result.status !== "committed") throw this.#stale();
    this.#durable = result;
    this.#tellIfIgnored(encoded, result.outcome);
  }

  #completeIn(tx: unknown, encoded: EncodedOutcome): Promise<void> {
    const { store, claim, nonce, id, retentionMs } = this.#binding;
    if (store.executions.completeInTransaction === undefined) {
      throw new EvenkeelError("INVALID_OPTIONS", "ctx.complete: this store has no transactions to complete in.");
    }
    const traced = this.#binding.traced(encoded.outcome);
    const request = { id, token: claim.token, nonce, outcome: traced, retentionMs };
    const accept = (result: CompleteResult): void => {
      if (result.status !== "committed") throw this.#stale();
      this.#tellIfIgnored(encoded, result.outcome);
    };
    const answer = store.executions.completeInTransaction(request, tx);
    if (answer instanceof Promise) return answer.then(accept);
    accept(answer);
    return Promise.resolve();
  }

  /** An earlier completion stands: this one came to nothing. */
  #tellIfIgnored({ outcome }: EncodedOutcome, standing: StoredOutcome): void {
    if (!sameOutcome(outcome, standing)) this.#binding.onIgnored();
  }

  #stale(): EvenkeelError {
    return new EvenkeelError("LEASE_LOST", "Another attempt took over: this one can't complete.");
  }

  async #rememberStep(step: StepRecord): Promise<void> {
    // A completed record remembers no steps, and needs none.
    if (this.#durable !== undefined) return;
    try {
      await this.#binding.rememberStep(step);
    } catch (error) {
      this.#interruptions.add(error);
      throw error;
    }
  }

  #assertUnsettled(): void {
    if (!this.#settled) return;
    throw new EvenkeelError("LEASE_LOST", "The execution is over: its context can't be used any more.");
  }

  #abort(reason: unknown): void {
    if (this.#abortedWith !== undefined) return;
    this.#abortedWith = { reason };
    this.#controller?.abort(reason);
  }
}

/** A value that the function wanted to be its outcome. */
export interface Offer {
  readonly encoded: EncodedOutcome;
  readonly value: unknown;
}

/** How far an error's causes are followed. */
const MOST_CAUSES = 8;
