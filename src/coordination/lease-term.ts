import type { Clock, Stopwatch, Timer } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { Rest } from "./rest.ts";

/**
 * Why a lease is held no longer, though nobody gave it up.
 * - `deadline`: the holder's own deadline passed before a renewal was confirmed.
 * - `lost`, `missing`: the store said so.
 */
export type LeaseLoss = "deadline" | "lost" | "missing";

/** What was granted: for how long, counted from before it was asked for. */
export interface LeaseGrant {
  readonly epoch: number;
  /** Started before the request was sent. */
  readonly since: Stopwatch;
  /** Milliseconds from `since` on. */
  readonly forMs: number;
}

/**
 * The time for which somebody holds a lease, who fences himself: it is not held when a renewal has not been confirmed in time, counted
 * from before it was sent, by the clock that went further. That is so while a renewal hangs, and after the event loop was held up or
 * the machine suspended, since whoever asks measures anew and relies on no timer.
 *
 * By the monotonic clock it is then over. Where only the wall clock says so, the machine was suspended, or the clock was set: the
 * term is in doubt, is not held, and asks for a renewal at once. Since the store renews no lease that has lapsed, one that is
 * confirmed shows that it was ours throughout.
 *
 * Gray and Cheriton, "Leases" (1989), for the deadline on the holder's side. `Why` are the reasons for which the holder gives it up.
 */
export class LeaseTerm<Why extends string = never> {
  readonly epoch: number;
  /** Aborts when the work under it has to end: at {@link drain}, or when it is over. */
  readonly signal: AbortSignal;
  /** Aborts when it is over. */
  readonly over: AbortSignal;
  /** Resolves when it is over, with why. */
  readonly ended: Promise<LeaseLoss | Why>;
  readonly #clock: Clock;
  readonly #work = new AbortController();
  readonly #term = new AbortController();
  readonly #rest: Rest;
  #confirmed: Omit<LeaseGrant, "epoch">;
  #timer: Timer | undefined;
  #isDoubted = false;
  readonly #onDoubt: () => void;
  #resolveEnded!: (why: LeaseLoss | Why) => void;

  /** @param onDoubt - called when a doubt begins, and when a renewal ends it. */
  constructor(clock: Clock, grant: LeaseGrant, onDoubt: () => void = () => {}) {
    this.#clock = clock;
    this.#rest = new Rest(clock);
    this.#onDoubt = onDoubt;
    this.epoch = grant.epoch;
    this.signal = this.#work.signal;
    this.over = this.#term.signal;
    this.#confirmed = grant;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#arm();
  }

  /** Whether it holds at this moment. To be asked before each effect. */
  isHeld(): boolean {
    if (this.leftMs() <= 0) this.end("deadline");
    if (this.over.aborted) return false;
    const { since, forMs } = this.#confirmed;
    if (since.elapsedMs() < forMs) return true;
    this.#doubt();
    return false;
  }

  /** A renewal failed: what is in doubt is not left so, whatever the monotonic clock says. */
  unconfirmed(): void {
    if (this.#confirmed.since.elapsedMs() >= this.#confirmed.forMs) this.end("deadline");
  }

  /** Milliseconds by the monotonic clock until it ends by itself; not positive afterwards. */
  leftMs(): number {
    return this.#confirmed.forMs - this.#confirmed.since.monotonicMs();
  }

  /**
   * A renewal was confirmed. What is over stays over, although the store may have renewed it.
   * @param since - started before the renewal was sent.
   */
  confirm(since: Stopwatch, forMs: number): void {
    if (this.leftMs() <= 0) this.end("deadline");
    if (this.over.aborted) return;
    const wasDoubted = this.#isDoubted;
    this.#confirmed = { since, forMs };
    this.#isDoubted = false;
    this.#arm();
    if (wasDoubted) this.#onDoubt();
  }

  /** Resolves after `ms` milliseconds, and earlier when it is over or comes into doubt. For whoever renews it. */
  async rest(ms: number): Promise<void> {
    if (!this.over.aborted) await this.#rest.for(ms);
  }

  /** Tells those who work under it to come to an end. It holds until {@link end}. */
  drain(): void {
    this.#work.abort(notLeader("The lease is about to be given up."));
  }

  /** It holds no longer. Only the first reason counts. */
  end(why: LeaseLoss | Why): void {
    if (this.over.aborted) return;
    this.#timer?.clear();
    this.#rest.end();
    this.#term.abort(notLeader(`The lease is held no longer: ${why}.`));
    this.#work.abort(this.over.reason);
    this.#resolveEnded(why);
  }

  /** Once until the next confirmation: where the store doesn't answer, asking often must not make it be asked often. */
  #doubt(): void {
    if (this.#isDoubted) return;
    this.#isDoubted = true;
    this.#rest.end();
    this.#onDoubt();
  }

  #arm(): void {
    this.#timer?.clear();
    this.#timer = this.#clock.setTimer(Math.max(0, this.leftMs()), () => {
      // Timers may come early, though not by a whole one of their units.
      if (this.leftMs() >= 1) this.#arm();
      else this.end("deadline");
    });
  }
}

/** The error of whoever needs to lead and doesn't. */
export function notLeader(message: string): EvenkeelError {
  return new EvenkeelError("NOT_LEADER", message);
}
