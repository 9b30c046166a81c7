import { makeNonce } from "../random.ts";
import { type DesiredSet, desiredOfText, desiredTextOf, wantedCountOf } from "../resources/desired-text.ts";
import { turnTaker } from "../resources/in-turns.ts";
import type { DesiredState } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { Answer } from "./answers.ts";
import type { Belief, Sight } from "./belief.ts";
import type { LookTerms, Unknown } from "./found.ts";
import type { LedgerView } from "./ledger-view.ts";
import type { ObservedResource } from "./observation.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { matchItems } from "./slot.ts";
import type { AnswerKind } from "./verdict.ts";

/** From so many resources on, an empty answer that would touch them all is not believed at once. */
const EMPTY_GUARD_ROWS = 10;

/** How often a pass brings what is desired into the ledger, if others bring other things there meanwhile. */
const MOST_KEEPS = 5;

const NOTHING_WANTED: DesiredSet = Object.freeze({ kind: "count", count: 0 });

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
  #wanted: DesiredSet | undefined;
  /** The number of the sight that the view shows; it is not kept itself, because there may be a million items. */
  #sightNumber = 0;
  #sights = 0;
  /** What is desired, and not in the ledger yet, and the generation that is. */
  #unkept: { readonly desired: string; readonly generation: number } | undefined;
  /** The last complete answer was empty, and not believed. */
  #emptyOnce = { desired: false, observe: false };

  constructor(settings: ReconcilerSettings<Spec>, view: LedgerView) {
    this.#settings = settings;
    this.#view = view;
    this.observed = settings.observe === undefined ? "ledger" : "partial";
  }

  /** An empty answer of before confirms none that comes. */
  forgetEmptyAnswers(): void {
    this.#emptyOnce = { desired: false, observe: false };
  }

  /** What is believed now. */
  belief(sight: Sight | undefined): Belief {
    const { desired, observed, generation } = this;
    const wanted = this.#wanted === undefined ? {} : { wanted: this.#wanted };
    return { desired, observed, generation, ...wanted, ...(sight === undefined ? {} : { sight }) };
  }

  /** Believes again what a look believed, if another one came after it. */
  async takeAgain({ desired, observed, generation, wanted, sight }: Belief): Promise<void> {
    await this.#become("desired", desired);
    if (wanted !== undefined || this.#wanted !== undefined) await this.#want(wanted ?? NOTHING_WANTED);
    this.generation = generation;
    if (sight === undefined || this.#sightNumber === sight.number) return;
    await this.#become("observed", observed);
    await this.#see(sight);
  }

  /** Takes in what the callback said is desired; {@link keepDesired} brings it into the ledger. */
  async takeDesired(
    answer: Answer<DesiredSet> | undefined,
    stored: DesiredState,
    terms: LookTerms,
    unknowns: Unknown[],
  ): Promise<void> {
    this.#unkept = undefined;
    if (answer === undefined) {
      await this.takeStored(stored);
      return;
    }
    if (answer.kind === "unknown") {
      unknowns.push({ of: "desired", error: answer.error });
      this.#emptyOnce.desired = false;
      this.generation = stored.generation;
      return;
    }
    const kind =
      answer.kind === "complete" && wantedCountOf(answer.value) === 0 ? this.#believe("desired", terms) : answer.kind;
    await this.#become("desired", kind);
    await this.#want(answer.value);
    if (kind !== "complete") {
      if (answer.kind === "partial") this.#emptyOnce.desired = false;
      this.generation = stored.generation;
      return;
    }
    if (wantedCountOf(answer.value) > 0) this.#emptyOnce.desired = false;
    const text = await desiredTextOf(answer.value);
    this.#unkept = text === stored.desired ? undefined : { desired: text, generation: stored.generation };
    this.generation = stored.generation + Number(this.#unkept !== undefined);
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
    await this.#want(this.#desiredSet);
  }

  /**
   * Keeps what the callback said is desired in the ledger, so that it is under the number that is acted on.
   * @param epoch - of the leadership under which it was asked.
   * @returns whether a later leader kept it out.
   */
  async keepDesired(epoch: number): Promise<boolean> {
    const unkept = this.#unkept;
    if (unkept === undefined) return false;
    this.#unkept = undefined;
    const { clock, random, storeTimeoutMs, store, name } = this.#settings;
    const { desired } = unkept;
    let { generation } = unkept;
    for (let tries = 1; ; tries += 1) {
      // A copy that arrives late, when something else has been desired since, changes nothing.
      const request = { group: name, epoch, nonce: makeNonce(random), desired, ifGeneration: generation };
      const result = await storeOperation({
        clock,
        random,
        budgetMs: storeTimeoutMs,
        send: (call) => store.resources.setDesired(request, call),
      });
      if (result.status === "fenced") return true;
      generation = result.generation;
      this.generation = generation;
      // Where somebody else says it too, again and again, the next pass goes on.
      if (result.status === "set" || tries === MOST_KEEPS) return false;
    }
  }

  /**
   * Takes in what the callback said it observes.
   * @param nowMs - by the store's clock.
   * @returns what was taken in, if anything was.
   */
  async takeObserved(
    answer: Answer<readonly ObservedResource[]> | undefined,
    terms: LookTerms,
    unknowns: Unknown[],
    nowMs: number,
  ): Promise<Sight | undefined> {
    if (answer === undefined) return undefined;
    if (answer.kind === "unknown") {
      unknowns.push({ of: "observe", error: answer.error });
      this.#emptyOnce.observe = false;
      return undefined;
    }
    const isEmpty = answer.kind === "complete" && !(await this.#showsAny(answer.value));
    const kind = isEmpty ? this.#believe("observe", terms) : answer.kind;
    if (!isEmpty) this.#emptyOnce.observe = false;
    await this.#become("observed", kind);
    this.#sights += 1;
    const sight: Sight = { number: this.#sights, kind, items: answer.value, nowMs };
    await this.#see(sight);
    return sight;
  }

  async #see({ number, items, nowMs, kind }: Sight): Promise<void> {
    this.bringsBeats = await this.#view.see(items, nowMs, kind);
    this.#sightNumber = number;
  }

  async #want(set: DesiredSet): Promise<void> {
    await this.#view.want(set);
    this.#wanted = set;
  }

  /** Whether an answer has any of the rows that are PROVISIONED. One that has none may be of somebody else's resources. */
  async #showsAny(items: readonly ObservedResource[]): Promise<boolean> {
    if (items.length > 0 && this.#view.states.PROVISIONED === 0) return true;
    const turns = turnTaker();
    for (const item of items) {
      const rows = this.#view.slot(item.id)?.rows ?? [];
      const { byIncarnation } = matchItems({ rows, items: [item] });
      if (rows.some(({ state, incarnation }) => state === "PROVISIONED" && byIncarnation.has(incarnation))) return true;
      if (turns.isDue()) await turns.turn();
    }
    return false;
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
  async #become(what: "desired" | "observed", kind: AnswerKind | "unset" | "ledger"): Promise<void> {
    const before = what === "desired" ? this.desired : this.observed;
    if (before === kind) return;
    if (what === "desired") this.desired = kind as AnswerKind | "unset";
    else this.observed = kind as AnswerKind | "ledger";
    await this.#view.touchAll();
  }
}
