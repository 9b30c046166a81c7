import { type Clock, Stopwatch, type Timer } from "../clock.ts";
import type { PassTerms } from "./pass-terms.ts";

/** What every pass of a period is bounded by. */
export type PeriodBounds = Required<Pick<PassTerms, "mayBegin">> & { readonly signal: AbortSignal };

/**
 * The time until a stop. Whoever asks for a pass meanwhile, the stop ends it: the loop, or a call of `reconcile()` or `approve()`.
 * Once it has begun to end, passes begin nothing new; after its grace they are aborted; it is over when nothing of them is under way.
 */
export class PassPeriod {
  readonly signal: AbortSignal;
  readonly #clock: Clock;
  readonly #idle: () => Promise<void>;
  readonly #controller = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  /** As long as it is not over. Nothing of ours begins before. */
  #before: PassPeriod | undefined;
  #over: Promise<void> | undefined;
  #isOver = false;
  #abort: { readonly timer: Timer; readonly graceMs: number; readonly since: Stopwatch } | undefined;

  /** @param idle - resolves once no callback is under way, and nothing is written. */
  constructor(clock: Clock, idle: () => Promise<void>, before?: PassPeriod) {
    this.#clock = clock;
    this.#idle = idle;
    this.#before = before?.isOver === false ? before : undefined;
    this.signal = this.#controller.signal;
  }

  get isEnding(): boolean {
    return this.#over !== undefined;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Runs a pass once the period before is over. */
  async run<T>(pass: (bounds: PeriodBounds) => Promise<T>): Promise<T> {
    const { signal } = this;
    return this.include(this.begun().then(() => pass({ signal, mayBegin: () => !this.isEnding })));
  }

  /** Resolves once the period before is over. */
  begun(): Promise<void> {
    return this.#before?.end(Number.POSITIVE_INFINITY) ?? Promise.resolve();
  }

  /** It is not over before this is. */
  include<T>(work: Promise<T>): Promise<T> {
    const forget = (): void => {
      this.#underWay.delete(work);
    };
    this.#underWay.add(work);
    work.then(forget, forget);
    return work;
  }

  /**
   * Ends it; asked again, not later than was asked before.
   * @param graceMs - milliseconds until what is under way is aborted.
   * @returns when it is over.
   */
  end(graceMs: number): Promise<void> {
    this.#before?.end(graceMs);
    this.#over ??= this.#untilOver();
    if (!this.#isOver && !this.signal.aborted && graceMs < this.#graceLeftMs()) {
      this.#abort?.timer.clear();
      const timer = this.#clock.setTimer(graceMs, () =>
        this.#controller.abort(new DOMException("The reconciler was stopped.", "AbortError")),
      );
      this.#abort = { timer, graceMs, since: new Stopwatch(this.#clock) };
    }
    return this.#over;
  }

  #graceLeftMs(): number {
    if (this.#abort === undefined) return Number.POSITIVE_INFINITY;
    return this.#abort.graceMs - this.#abort.since.elapsedMs();
  }

  async #untilOver(): Promise<void> {
    await this.begun();
    do {
      await Promise.allSettled(this.#underWay);
      await this.#idle();
    } while (this.#underWay.size > 0);
    this.#isOver = true;
    this.#before = undefined;
    this.#abort?.timer.clear();
  }
}
