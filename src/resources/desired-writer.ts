import type { Clock } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { makeNonce, type Random } from "../random.ts";
import type { LedgerStore } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { otherTextOf } from "./desired-text.ts";
import { fenced } from "./epoch-following.ts";

/** Each try that is lost means that somebody else's was carried out. So many in a row are a fault that tries don't mend. */
const MOST_TRIES = 1_000;
const RETRY_AFTER_MS = 1_000;

/** What a writer needs of its ledger. */
export interface DesiredWriterTerms {
  /** Through which epochs are followed. */
  readonly store: LedgerStore;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly storeTimeoutMs: number;
}

/**
 * `conflict`: something else was desired than what was meant, and this is its generation. `mayBeOurs`: an answer was lost, and what was
 * asked for may have been desired in between.
 */
export type DesiredWritten =
  | { readonly status: "set"; readonly generation: number }
  | { readonly status: "conflict"; readonly generation: number; readonly mayBeOurs: boolean };

/**
 * Writes what is desired of one group, one call after the other. Each request names the generation that it is from, so that a copy of
 * it which arrives late, when something else has been desired since, changes nothing.
 */
export class DesiredWriter {
  readonly #terms: DesiredWriterTerms;
  /** The last one that was answered. What others have made of it since, a conflict tells. */
  #generation = 0;
  /**
   * What a call that failed asked for, and may still be carried out as long as the generation is the one that it is from. Without a
   * text there are several.
   */
  #open: { readonly generation: number; readonly desired: string | undefined } | undefined;

  constructor(terms: DesiredWriterTerms) {
    this.#terms = terms;
  }

  /**
   * Sets what is desired, whatever it was.
   * @throws EvenkeelError `STORE_UNAVAILABLE` within the budget, without a `cause` where others were always faster and nothing was set;
   * `FENCED`; `RECORD_CORRUPT`.
   */
  async set(desired: string): Promise<{ generation: number }> {
    const deadline = this.#deadline();
    let isUnknown = false;
    for (let tries = 1; tries <= MOST_TRIES && this.#leftMs(deadline) > 0; tries += 1) {
      const result = await this.#setFrom(this.#generation, desired, deadline);
      if (result.status === "set") return { generation: result.generation };
      isUnknown ||= result.mayBeOurs;
    }
    throw isUnknown ? unknownDesired() : outrun();
  }

  /** Sets what is desired if the generation is still this one. @throws EvenkeelError as {@link DesiredWriter.set}. */
  setFrom(generation: number, desired: string): Promise<DesiredWritten> {
    return this.#setFrom(generation, desired, this.#deadline());
  }

  async #setFrom(generation: number, desired: string, deadline: number): Promise<DesiredWritten> {
    const result = await this.#send(generation, desired, deadline);
    if (result.status === "conflict" || !this.#isOpenTo(result.generation, desired)) return result;
    // It was desired already, which ends no generation, so that what a failed call asked for could still come over it.
    const ended = await this.#send(generation, otherTextOf(desired), deadline);
    return ended.status === "conflict" ? ended : this.#send(ended.generation, desired, deadline);
  }

  async #send(ifGeneration: number, desired: string, deadline: number): Promise<DesiredWritten> {
    const { store, group, clock, random } = this.#terms;
    const request = { group, epoch: 0, nonce: makeNonce(random), desired, ifGeneration };
    let isUnknown = false;
    const answer = storeOperation({
      clock,
      random,
      budgetMs: Math.max(1, this.#leftMs(deadline)),
      send: (call) => store.resources.setDesired(request, call),
      onUnknown: () => {
        isUnknown = true;
      },
    });
    const result = await answer.catch((error: unknown) => {
      this.#leaveOpen(ifGeneration, desired);
      throw error;
    });
    if (result.status === "fenced") throw fenced(result.epoch);
    const { generation } = result;
    this.#generation = generation;
    if (this.#open?.generation !== generation) this.#open = undefined;
    if (result.status === "set") return { status: "set", generation };
    // The next generation is somebody else's: were it this request's own, the store would know its nonce.
    return { status: "conflict", generation, mayBeOurs: isUnknown && generation > ifGeneration + 1 };
  }

  #leaveOpen(generation: number, desired: string): void {
    const isOneOfSeveral = this.#open?.generation === generation && this.#open.desired !== desired;
    this.#open = { generation, desired: isOneOfSeveral ? undefined : desired };
  }

  /** Whether something else than this may still be carried out. */
  #isOpenTo(generation: number, desired: string): boolean {
    return this.#open?.generation === generation && this.#open.desired !== desired;
  }

  #deadline(): number {
    return this.#terms.clock.monotonic() + this.#terms.storeTimeoutMs;
  }

  #leftMs(deadline: number): number {
    return deadline - this.#terms.clock.monotonic();
  }
}

/** What is thrown where it can't be told whose change the present generation follows. */
export function unknownDesired(): EvenkeelError {
  const cause = new Error("an answer was lost, and others have changed what is desired since");
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    "It is not known whether what is desired of the group was updated: look at it before you try again.",
    { retryAfterMs: RETRY_AFTER_MS, cause },
  );
}

/** What is thrown where others were always faster. */
export function outrun(): EvenkeelError {
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    "Others changed what is desired of the group each time that it was to be set. Nothing was set.",
    { retryAfterMs: RETRY_AFTER_MS },
  );
}
