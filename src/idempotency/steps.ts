import { EvenkeelError } from "../errors.ts";
import { rules } from "../option-rules.ts";
import type { StepRecord } from "../store.ts";
import type { OutcomeCodec } from "./outcome.ts";

/** Where steps are remembered. Resolves once the store has it; throws what ends the attempt. */
export type RememberStep = (step: StepRecord) => Promise<void>;

/**
 * The steps of one attempt, in the sequence in which they are started, beside those that an earlier attempt finished.
 * A step that threw is not remembered: it runs again.
 */
export class Steps {
  readonly #id: string;
  readonly #codec: OutcomeCodec;
  readonly #remembered: ReadonlyMap<number, StepRecord>;
  readonly #rememberedNames: ReadonlySet<string>;
  readonly #remember: RememberStep;
  readonly #started = new Set<string>();
  #mismatch: EvenkeelError | undefined;

  constructor(id: string, codec: OutcomeCodec, remembered: readonly StepRecord[], remember: RememberStep) {
    this.#id = id;
    this.#codec = codec;
    this.#remembered = new Map(remembered.map((step) => [step.position, step]));
    this.#rememberedNames = new Set(remembered.map((step) => step.name));
    this.#remember = remember;
  }

  /** Set once the steps were asked otherwise than last time, after which none runs any more. */
  get mismatch(): EvenkeelError | undefined {
    return this.#mismatch;
  }

  /**
   * The remembered outcome, or that of `fn`, remembered.
   * @throws EvenkeelError `STEP_MISMATCH` before anything runs; `RESULT_NOT_REPLAYABLE` for a step that has run but whose
   * outcome could not be stored.
   */
  async run<T>(name: string, fn: () => T | Promise<T>): Promise<T> {
    const position = this.#started.size;
    const remembered = this.#remembered.get(position);
    this.#check(name, position, remembered);
    this.#started.add(name);
    if (remembered !== undefined) {
      const settled = this.#codec.decode(this.#id, remembered.outcome);
      if (!settled.ok) throw settled.error;
      return settled.value as T;
    }
    const value = await fn();
    const encoded = this.#codec.encodeValue(this.#id, value);
    await this.#remember({ position, name, outcome: encoded.outcome });
    return "replay" in encoded && encoded.replay.ok ? (encoded.replay.value as T) : value;
  }

  #check(name: string, position: number, remembered: StepRecord | undefined): void {
    if (this.#mismatch !== undefined) throw this.#mismatch;
    const why = this.#whyNot(name, remembered);
    if (why === undefined) return;
    this.#mismatch = new EvenkeelError("STEP_MISMATCH", `Step ${position + 1} can't run: ${why}.`);
    throw this.#mismatch;
  }

  #whyNot(name: string, remembered: StepRecord | undefined): string | undefined {
    // Names are the user's data: no message repeats one.
    if (!rules.name.test(name)) return `its name must be ${rules.name.says}`;
    if (this.#started.has(name)) return "its name was already used in this run";
    if (remembered !== undefined && remembered.name !== name)
      return "an earlier attempt had a step of another name here";
    if (remembered === undefined && this.#rememberedNames.has(name)) {
      return "it stood at another place in an earlier attempt";
    }
    return undefined;
  }
}
