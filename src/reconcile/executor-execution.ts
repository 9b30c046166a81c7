import { isEvenkeelError } from "../errors.ts";
import type { Verdict } from "./executor-terms.ts";
import type { Step, StepOutcome } from "./step.ts";

/** What one execution is bounded by. */
export interface ExecuteOptions {
  /** Ends callbacks that run, at once: the leadership is gone. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the leadership goes on under which the steps were decided. Defaults to always. */
  readonly lasts?: () => boolean;
  /** Tells callbacks that run to end, and gives them a moment to say what they did: the time to stop is over. */
  readonly stop?: AbortSignal | undefined;
  /** What has not begun by then never does, and is told so at once: nobody waits for the rest any more. */
  readonly cut?: AbortSignal | undefined;
  /** Asked before each step begins. */
  readonly mayBegin: () => boolean;
}

interface ExecutionTerms extends ExecuteOptions {
  readonly onOutcome: (outcome: StepOutcome) => void;
}

/** The outcomes of the steps that are executed together. */
export class Execution {
  readonly #terms: ExecutionTerms;
  readonly #outcomes = new Map<Step, StepOutcome>();
  readonly #begun = new Set<Step>();
  /** Why nothing more begins: the store's first failure, as a rule. */
  #failure: { readonly error: unknown } | undefined;

  constructor(terms: ExecutionTerms) {
    this.#terms = terms;
  }

  /** Whether the step has its outcome, though its turn may not have come. */
  isOver(step: Step): boolean {
    return this.#outcomes.has(step);
  }

  /** Does a step, if it may begin, and tells its outcome. Never rejects. */
  async run(step: Step, work: () => Promise<Verdict>): Promise<Verdict> {
    const known = this.#outcomes.get(step);
    if (known !== undefined) return known;
    this.#begun.add(step);
    const verdict = await this.#verdictOf(work);
    this.#tell({ step, ...verdict });
    return verdict;
  }

  /** Has those of the steps that have not begun never begin. */
  abandon(steps: readonly Step[]): void {
    for (const step of steps)
      if (!this.#begun.has(step) && !this.isOver(step)) this.#tell({ step, result: "notBegun" });
  }

  #tell(outcome: StepOutcome): void {
    this.#outcomes.set(outcome.step, outcome);
    try {
      this.#terms.onOutcome(outcome);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /**
   * The outcomes of all steps, in their order.
   * @throws what ended the execution early.
   */
  finish(steps: readonly Step[]): StepOutcome[] {
    if (this.#failure !== undefined) throw this.#failure.error;
    return steps.map((step) => this.#outcomes.get(step) ?? { step, result: "notBegun" });
  }

  /** What the user's callbacks throw is a verdict already: what is thrown here is the store's, or a mistake of ours. */
  async #verdictOf(work: () => Promise<Verdict>): Promise<Verdict> {
    try {
      if (!this.#mayBegin()) return { result: "notBegun" };
      return withError(await work());
    } catch (error) {
      if (isEvenkeelError(error) && error.code === "STORE_UNAVAILABLE") this.#failure ??= { error };
      return { result: "failed", error };
    }
  }

  #mayBegin(): boolean {
    const { signal, stop, cut, mayBegin } = this.#terms;
    const isEnded = [signal, stop, cut].some((end) => end?.aborted === true);
    return this.#failure === undefined && !isEnded && mayBegin();
  }
}

/** Whatever failed says why. */
function withError(verdict: Verdict): Verdict {
  if (verdict.result !== "failed" || (verdict.error !== undefined && verdict.error !== null)) return verdict;
  return { ...verdict, error: new Error(`The callback threw ${String(verdict.error)}.`) };
}
