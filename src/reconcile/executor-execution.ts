import { isEvenkeelError } from "../errors.ts";
import type { Verdict } from "./executor-terms.ts";
import type { Step, StepOutcome } from "./step.ts";

/** What one execution is bounded by. */
export interface ExecuteOptions {
  /** Ends callbacks that run: the leadership is gone, or the time to stop is over. */
  readonly signal?: AbortSignal | undefined;
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
  /** Why nothing more begins: the store's first failure, as a rule. */
  #failure: { readonly error: unknown } | undefined;

  constructor(terms: ExecutionTerms) {
    this.#terms = terms;
  }

  /** Does a step, if it may begin, and tells its outcome. Never rejects. */
  async run(step: Step, work: () => Promise<Verdict>): Promise<Verdict> {
    const verdict = await this.#verdictOf(work);
    const outcome: StepOutcome = { step, ...verdict };
    this.#outcomes.set(step, outcome);
    try {
      this.#terms.onOutcome(outcome);
    } catch (error) {
      this.#failure ??= { error };
    }
    return verdict;
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
    const { signal, mayBegin } = this.#terms;
    return this.#failure === undefined && signal?.aborted !== true && mayBegin();
  }
}

/** Whatever failed says why. */
function withError(verdict: Verdict): Verdict {
  if (verdict.result !== "failed" || (verdict.error !== undefined && verdict.error !== null)) return verdict;
  return { ...verdict, error: new Error(`The callback threw ${String(verdict.error)}.`) };
}
