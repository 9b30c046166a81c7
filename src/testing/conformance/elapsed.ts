import { systemClock } from "../../clock.ts";

/** A moment of a case, as far as the suite can know the store's time from outside. */
export interface Moment {
  /** Of two moments the one with the higher number was later. */
  readonly order: number;
  /** What `advance()` had been asked for, and what of it was done. */
  readonly begunMs: number;
  readonly doneMs: number;
  readonly realMs: number;
}

/** From the moment a call was made to the moment its answer came. When in between the store decided is not known. */
export interface Span {
  readonly began: Moment;
  readonly answered: Moment;
}

/** What the suite allows a real clock to run ahead of the one that it measures with. */
const CLOCK_SLACK_MS = 5_000;

/** The store's time as it is known from outside: bounds, since calls take time and real clocks go on. */
export class Elapsed {
  readonly #exactTime: boolean;
  #order = 0;
  #begunMs = 0;
  #doneMs = 0;

  constructor(exactTime: boolean) {
    this.#exactTime = exactTime;
  }

  async advance(ms: number, move: (ms: number) => Promise<void>): Promise<void> {
    this.#begunMs += ms;
    await move(ms);
    this.#doneMs += ms;
  }

  now(): Moment {
    this.#order += 1;
    return { order: this.#order, begunMs: this.#begunMs, doneMs: this.#doneMs, realMs: systemClock.monotonic() };
  }

  /** Makes a call, and tells when. */
  async measure<T>(make: () => Promise<T>): Promise<{ answer: T; span: Span }> {
    const began = this.now();
    const answer = await make();
    return { answer, span: { began, answered: this.now() } };
  }

  /** The most that can have passed from what one call did to what another did. */
  atMost(from: Span, to: Span): number {
    const realMs = this.#exactTime ? 0 : to.answered.realMs - from.began.realMs + CLOCK_SLACK_MS;
    return to.answered.begunMs - from.began.doneMs + realMs;
  }

  /** What has passed at least. */
  atLeast(from: Span, to: Span): number {
    return to.began.doneMs - from.answered.begunMs;
  }
}

/** Whether a call was made after another's answer had come. */
export function follows(later: Span, earlier: Span): boolean {
  return later.began.order > earlier.answered.order;
}
