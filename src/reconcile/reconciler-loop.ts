import { onAbort } from "../abort-listeners.ts";
import { type Clock, Stopwatch, type Timer } from "../clock.ts";
import type { Interruption } from "./pass-execution.ts";
import type { BareEvent } from "./pass-notes.ts";
import type { PassResult, PassTerms } from "./pass-terms.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { WorkQueue } from "./work-queue.ts";
import type { WorkDurations } from "./work-queue-options.ts";

/** How often a reconciler that does not lead looks whether it does now. */
const LEADERSHIP_POLL_MS = 1_000;

/** What the loop runs. */
export interface LoopWork {
  pass(terms: PassTerms): Promise<PassResult>;
  emit(event: BareEvent): void;
  /** Another process leads: what was measured here is of the past. */
  forgetMeasured(): void;
  /** Aborted once passes are to end at once. */
  readonly signal: AbortSignal;
}

/** A time in which nobody is declared dead, because we may have been deaf. */
export class GracePeriod {
  readonly #clock: Clock;
  readonly #ms: number;
  #since: Stopwatch | undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  begin(): void {
    this.#since = new Stopwatch(this.#clock);
  }

  /** Milliseconds; 0 when it is over. */
  leftMs(): number {
    return this.#since === undefined ? 0 : Math.max(0, this.#ms - this.#since.elapsedMs());
  }
}

/**
 * Runs passes from a start to a stop: one at a time, at wakes, when something is due, and at every resync. There is one key, because a
 * pass looks at the whole group, at the cost of what changed.
 */
export class ReconcilerLoop {
  readonly queue: WorkQueue<string>;
  /** Resolves once its last pass is over. */
  readonly ended: Promise<void>;
  readonly #settings: ReconcilerSettings<never>;
  readonly #work: LoopWork;
  readonly #grace: GracePeriod;
  readonly #tickMs: number;
  readonly #stopListening: () => void;
  #lastTick: Stopwatch;
  #ticker: Timer | undefined;
  #isEnding = false;
  #endPass: (() => void) | undefined;
  #lastEpoch: number | undefined;
  #endFollowing = (): void => {};

  /** @param after - what has to be over before the first pass. */
  constructor(settings: ReconcilerSettings<never>, work: LoopWork, grace: GracePeriod, after: Promise<unknown>) {
    const { name, clock, random, staleAfterMs } = settings;
    this.#settings = settings;
    this.#work = work;
    this.#grace = grace;
    const onDone = (durations: WorkDurations): void => {
      if (!work.signal.aborted) work.emit({ type: "work_finished", ...durations });
    };
    this.queue = new WorkQueue({ name, clock, random, onDone });
    this.#tickMs = Math.min(5_000, Math.max(1, Math.floor(staleAfterMs / 10)));
    this.#lastTick = new Stopwatch(clock);
    this.#tick();
    grace.begin();
    this.#stopListening = settings.shards?.onChange(() => this.wake()) ?? (() => {});
    this.queue.add(name);
    this.ended = after.then(() => this.#run());
  }

  wake(): void {
    this.queue.add(this.#settings.name);
  }

  /** Does not wait for what the present pass has begun. */
  interrupt(): void {
    this.#endPass?.();
  }

  /** No other pass begins; one that runs goes on. */
  end(): void {
    this.#isEnding = true;
    this.#ticker?.clear();
    this.#stopListening();
    this.#endFollowing();
    this.queue.shutdown();
  }

  async #run(): Promise<void> {
    const { name, resyncIntervalMs } = this.#settings;
    for (;;) {
      const key = await this.queue.get();
      // The queue still hands out what was asked for before the end.
      if (key === undefined || this.#isEnding) return;
      let nextMs = resyncIntervalMs;
      try {
        nextMs = await this.#pass();
      } catch (error) {
        if (!this.#work.signal.aborted) this.#work.emit({ type: "pass_failed", error });
        this.queue.addRateLimited(name);
      }
      this.queue.done(name);
      this.queue.addAfter(name, nextMs);
    }
  }

  /** @returns milliseconds until the next pass. */
  async #pass(): Promise<number> {
    const { leader, resyncIntervalMs } = this.#settings;
    this.#noteStall();
    const mayLead = (): boolean => leader === undefined || (leader.isLeader() && !leader.signal.aborted);
    const pollMs = Math.min(LEADERSHIP_POLL_MS, resyncIntervalMs);
    if (!mayLead()) {
      this.#lastEpoch = undefined;
      this.#work.forgetMeasured();
      return pollMs;
    }
    this.#noteLeadership();
    const nextMs = await this.#reconcile();
    return mayLead() ? nextMs : Math.min(nextMs, pollMs);
  }

  /** @returns milliseconds until the next pass. */
  async #reconcile(): Promise<number> {
    const { name, clock, resyncIntervalMs } = this.#settings;
    const { report, progress, isBlind, retryAt, dueAt } = await this.#work.pass({
      graceLeftMs: () => {
        // Also a stall in the middle of the pass may have kept beats from being seen; and it may have waited for one that was asked for.
        this.#noteStall();
        this.#noteLeadership();
        return this.#grace.leftMs();
      },
      interruption: this.#interruption(),
    });
    const leftMs = (at: number | undefined) => (at === undefined ? Number.POSITIVE_INFINITY : at - clock.now());
    // Whoever asked for patience gets it: also from the resync.
    if (retryAt !== undefined) return Math.max(0, leftMs(retryAt));
    const nextMs = leftMs(report.nextWakeAt);
    if (isBlind || progress === "stuck" || (progress === "none" && nextMs <= 0)) {
      // What could be done at once and doesn't get on is tried ever more rarely.
      this.queue.addRateLimited(name);
      return isBlind || leftMs(dueAt) <= 0 ? resyncIntervalMs : Math.min(leftMs(dueAt), resyncIntervalMs);
    }
    this.queue.forget(name);
    return Math.min(Math.max(0, nextMs), resyncIntervalMs);
  }

  #interruption(): Interruption {
    let isRequested = false;
    this.#endPass = () => {
      isRequested = true;
    };
    return {
      onRequest: (end) => {
        this.#endPass = end;
        if (isRequested) end();
      },
    };
  }

  /** Nobody is declared dead soon after an election; from the end of the leadership on it is looked for the next one. */
  #noteLeadership(): void {
    const { leader } = this.#settings;
    const epoch = leader?.epoch;
    if (leader === undefined || epoch === undefined || epoch === this.#lastEpoch || this.#isEnding) return;
    this.#lastEpoch = epoch;
    this.#grace.begin();
    this.#endFollowing();
    this.#endFollowing = onAbort(leader.signal, () => this.wake());
  }

  #tick(): void {
    this.#noteStall();
    this.#ticker = this.#settings.clock.setTimer(this.#tickMs, () => this.#tick(), { ref: false });
  }

  /** If we were held up, so may the heartbeats have been that come through this process. */
  #noteStall(): void {
    if (this.#lastTick.elapsedMs() > 2 * this.#tickMs) this.#grace.begin();
    this.#lastTick = new Stopwatch(this.#settings.clock);
  }
}
