import type { Clock, Stopwatch, Timer } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import type { LeaderStopReason } from "../events.ts";

/** What was granted: for how long, counted from before it was asked for. */
export interface LeadershipGrant {
  readonly epoch: number;
  /** Started before the request was sent. */
  readonly since: Stopwatch;
  /** Milliseconds from `since` on. */
  readonly forMs: number;
}

/**
 * One term of a leader, which fences itself: it is over when a renewal has not been confirmed in time, counted from before it was
 * sent, by the clock that went further. That holds while a renewal hangs, and after the event loop was held up or the machine
 * suspended, since whoever asks measures anew and relies on no timer.
 *
 * Gray and Cheriton, "Leases" (1989), for the deadline on the holder's side.
 */
export class Leadership {
  readonly epoch: number;
  /** Aborts when the work under it has to end: at {@link drain}, or when it is over. */
  readonly signal: AbortSignal;
  /** Aborts when it is over. */
  readonly over: AbortSignal;
  /** Resolves when it is over, with why. */
  readonly ended: Promise<LeaderStopReason>;
  readonly #clock: Clock;
  readonly #work = new AbortController();
  readonly #term = new AbortController();
  #confirmed: Omit<LeadershipGrant, "epoch">;
  #timer: Timer | undefined;
  #resolveEnded!: (why: LeaderStopReason) => void;

  constructor(clock: Clock, grant: LeadershipGrant) {
    this.#clock = clock;
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
    if (!this.over.aborted && this.leftMs() <= 0) this.end("deadline");
    return !this.over.aborted;
  }

  /** Milliseconds until it ends by itself; not positive afterwards. */
  leftMs(): number {
    return this.#confirmed.forMs - this.#confirmed.since.elapsedMs();
  }

  /**
   * A renewal was confirmed. What is over stays over, although the store may have renewed it.
   * @param since - started before the renewal was sent.
   */
  confirm(since: Stopwatch, forMs: number): void {
    if (!this.isHeld()) return;
    this.#confirmed = { since, forMs };
    this.#arm();
  }

  /** Tells those who work under it to come to an end. It holds until {@link end}. */
  drain(): void {
    this.#work.abort(notLeader("The leader was asked to stop."));
  }

  /** It holds no longer. Only the first reason counts. */
  end(why: LeaderStopReason): void {
    if (this.over.aborted) return;
    this.#timer?.clear();
    this.#term.abort(notLeader(`The leadership is over: ${why}.`));
    this.#work.abort(this.over.reason);
    this.#resolveEnded(why);
  }

  #arm(): void {
    this.#timer?.clear();
    // Timers count monotonic time alone, so that one may come before or after the moment.
    this.#timer = this.#clock.setTimer(Math.max(0, this.leftMs()), () => {
      if (this.isHeld()) this.#arm();
    });
  }
}

/** The error of whoever needs to lead and doesn't. */
export function notLeader(message: string): EvenkeelError {
  return new EvenkeelError("NOT_LEADER", message);
}
