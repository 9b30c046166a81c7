import { makeNonce } from "../random.ts";
import { type DesiredSet, desiredOfText, desiredTextOf } from "../resources/desired-text.ts";
import type { DesiredState } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { Answer } from "./answers.ts";
import type { LookTerms, Unknown } from "./found.ts";
import type { LedgerView } from "./ledger-view.ts";
import type { ObservedResource } from "./observation.ts";
import type { ReconcilerSettings } from "./settings.ts";
import type { AnswerKind } from "./verdict.ts";

/** From so many resources on, an empty answer that would touch them all is not believed at once. */
const EMPTY_GUARD_ROWS = 10;

/** What is believed of what is desired and observed: takes answers in, as far as they can be relied on. */
export class Beliefs<Spec> {
  /** `unset`: nobody has ever said. */
  desired: AnswerKind | "unset" = "unset";
  /** `ledger`: its own rows are the observation. */
  observed: AnswerKind | "ledger";
  /** Of what is desired. */
  generation = 0;
  /** Whether the observation brings heartbeats that the store does not know of. */
  bringsBeats = false;
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #view: LedgerView;
  #desiredText: string | undefined;
  #desiredSet: DesiredSet | undefined;
  /** The last complete answer was empty, and not believed. */
  #emptyOnce = { desired: false, observe: false };

  constructor(settings: ReconcilerSettings<Spec>, view: LedgerView) {
    this.#settings = settings;
    this.#view = view;
    this.observed = settings.observe === undefined ? "ledger" : "partial";
  }

  /** @returns whether a later leader kept the answer out of the ledger. */
  async takeDesired(
    answer: Answer<DesiredSet> | undefined,
    stored: DesiredState,
    terms: LookTerms,
    unknowns: Unknown[],
  ): Promise<boolean> {
    if (answer === undefined) {
      await this.takeStored(stored);
      return false;
    }
    if (answer.kind === "unknown") {
      unknowns.push({ of: "desired", error: answer.error });
      this.generation = stored.generation;
      return false;
    }
    const kind = answer.kind === "complete" && isEmptySet(answer.value) ? this.#believe("desired", terms) : answer.kind;
    await this.#become("desired", kind);
    await this.#view.want(answer.value);
    if (kind !== "complete") {
      if (answer.kind === "partial") this.#emptyOnce.desired = false;
      this.generation = stored.generation;
      return false;
    }
    if (!isEmptySet(answer.value)) this.#emptyOnce.desired = false;
    const text = await desiredTextOf(answer.value);
    if (text === stored.desired) {
      this.generation = stored.generation;
      return false;
    }
    this.generation = stored.generation + 1;
    if (terms.mode === "dry" || terms.blockedBy !== undefined) return false;
    return this.#keepDesired(text);
  }

  /** Takes in what the ledger says is desired. */
  async takeStored({ desired, generation }: DesiredState): Promise<void> {
    this.generation = generation;
    if (desired === undefined) {
      await this.#become("desired", "unset");
      return;
    }
    if (desired !== this.#desiredText || this.#desiredSet === undefined) {
      this.#desiredSet = await desiredOfText(desired);
      this.#desiredText = desired;
    }
    await this.#become("desired", "complete");
    await this.#view.want(this.#desiredSet);
  }

  async #keepDesired(desired: string): Promise<boolean> {
    const { clock, random, storeTimeoutMs, store, name, leader } = this.#settings;
    const request = { group: name, epoch: leader?.epoch ?? 0, nonce: makeNonce(random), desired };
    const result = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.setDesired(request, call),
    });
    if (result.status === "fenced") return true;
    this.generation = result.generation;
    return false;
  }

  /** @param nowMs - by the store's clock. */
  async takeObserved(
    answer: Answer<readonly ObservedResource[]> | undefined,
    terms: LookTerms,
    unknowns: Unknown[],
    nowMs: number,
  ): Promise<void> {
    if (answer === undefined) return;
    if (answer.kind === "unknown") {
      unknowns.push({ of: "observe", error: answer.error });
      return;
    }
    const isEmpty = answer.kind === "complete" && answer.value.length === 0;
    const kind = isEmpty ? this.#believe("observe", terms) : answer.kind;
    if (!isEmpty) this.#emptyOnce.observe = false;
    await this.#become("observed", kind);
    this.bringsBeats = await this.#view.see(answer.value, nowMs);
  }

  /** Whether an empty answer is taken at its word: not before it was given twice, if it would touch many. */
  #believe(of: "desired" | "observe", { mode }: LookTerms): AnswerKind {
    const { allowEmpty, massGuard } = this.#settings;
    const fewest = massGuard === false ? EMPTY_GUARD_ROWS : massGuard.minRows;
    // What is on its way out is not touched by either.
    const { PENDING, PROVISIONED, FAILED } = this.#view.states;
    const touched = of === "observe" ? PROVISIONED : PENDING + PROVISIONED + FAILED;
    if (allowEmpty || touched < fewest || this.#emptyOnce[of]) return "complete";
    if (mode === "real") this.#emptyOnce[of] = true;
    return "unconfirmed";
  }

  /** An answer of another kind is to be judged anew everywhere: other things follow from what it lacks. */
  async #become(what: "desired" | "observed", kind: AnswerKind | "unset"): Promise<void> {
    const before = what === "desired" ? this.desired : this.observed;
    if (before === kind) return;
    if (what === "desired") this.desired = kind;
    else this.observed = kind as AnswerKind;
    await this.#view.touchAll();
  }
}

function isEmptySet(set: DesiredSet): boolean {
  return set.kind === "count" ? set.count === 0 : set.resources.length === 0;
}
