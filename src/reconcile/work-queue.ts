import { type Clock, systemClock } from "../clock.ts";
import type { MetricSample } from "../metric-sample.ts";
import { acceptOptions } from "../option-rules.ts";
import { dropRejection } from "../rejections.ts";
import { Backoff } from "./backoff.ts";
import { DelayingQueue } from "./delaying-queue.ts";
import { WorkQueueMetrics } from "./work-queue-metrics.ts";
import {
  acceptDelay,
  acceptKey,
  acceptPriority,
  acceptSignal,
  WORK_QUEUE_RULES,
  type WorkDurations,
  type WorkQueueAddOptions,
  type WorkQueueOptions,
} from "./work-queue-options.ts";
import { DirtyKey, ReadyKeys } from "./work-queue-ready.ts";
import { Waiters } from "./work-queue-waiters.ts";

/**
 * Which keys have work, for workers that take one at a time. In memory, for one process: it doesn't survive a crash, doesn't
 * say what has happened to a key, and gives no bound on when a key's turn comes. So what is done for a key has to look
 * at the present state and not at what woke it, and a resync has to add what a crash lost.
 *
 * What holds:
 * - A key is in process at most once at a time. Added while it is, it runs once more after {@link done}.
 * - However often a key is added before it is handed out, it runs once. After the last add it runs at least once.
 * - Higher priority first. A key rises one level a second from when it could be handed out, so it waits at most q - p
 *   seconds longer than keys that are added later with priority q instead of its p. At equal priority first in, first out.
 * - Of several times at which a key shall run the earliest counts; an add now absorbs a delayed one.
 *
 * After the sets and verbs of client-go's `util/workqueue`. Keys are compared as a `Map` does.
 *
 * @example
 * ```ts
 * const queue = new WorkQueue<string>({ name: "orders" });
 * async function work(): Promise<void> {
 *   for (let id = await queue.get(); id !== undefined; id = await queue.get()) {
 *     try {
 *       await bringUpToDate(id);
 *       queue.forget(id);
 *     } catch {
 *       queue.addRateLimited(id);
 *     } finally {
 *       queue.done(id);
 *     }
 *   }
 * }
 * const workers = [work(), work()];
 * queue.add("order-17");
 * await queue.drain();
 * ```
 */
export class WorkQueue<Key> {
  readonly #clock: Clock;
  readonly #backoff: Backoff<Key>;
  readonly #metrics: WorkQueueMetrics;
  /** None of its keys is dirty. */
  readonly #delaying: DelayingQueue<Key>;
  /** Every key that has to run, in process or not. */
  readonly #dirty = new Map<Key, DirtyKey<Key>>();
  /** Those of the dirty keys that aren't in process: what can be handed out. */
  readonly #ready = new ReadyKeys<Key>();
  /** Every key that was handed out and isn't done, with the monotonic millisecond in which it was, and how long it had waited then. */
  readonly #processing = new Map<Key, { readonly startedAt: number; readonly queuedMs: number }>();
  readonly #onDone: (durations: WorkDurations) => void;
  /** While there are any, no key is ready, or a dispatch is under way. */
  readonly #waiters = new Waiters<Key | undefined>();
  #dispatching = false;
  /** Whether adds are ignored: after the first `shutdown` or `drain`. */
  #closed = false;
  /** Whether nobody waits for what is in process, which may come back: after the first `shutdown`. */
  #shutDown = false;
  readonly #drains = new Set<() => void>();

  /** @throws EvenkeelError `INVALID_OPTIONS`. */
  constructor(options: WorkQueueOptions = {}) {
    acceptOptions("WorkQueue", WORK_QUEUE_RULES, options);
    const { clock = systemClock, name = "default", onDone = () => {}, ...backoff } = options;
    this.#clock = clock;
    this.#backoff = new Backoff(backoff, "WorkQueue");
    this.#metrics = new WorkQueueMetrics(name);
    this.#onDone = onDone;
    this.#delaying = new DelayingQueue({ clock, onDue: (key) => this.#makeDirty(key, 0) });
  }

  /** How many keys {@link get} can hand out now: without those that are delayed or in process. */
  get size(): number {
    return this.#ready.size;
  }

  /**
   * The key has to run. Added again, it keeps its place and the higher of the priorities. Ignored after
   * {@link shutdown} and {@link drain}.
   * @throws EvenkeelError `INVALID_OPTIONS` for a priority that isn't a whole number, and for `undefined` as a key, which
   * {@link get} couldn't tell from the end.
   */
  add(key: Key, options?: WorkQueueAddOptions): void {
    acceptKey("add", key);
    const priority = acceptPriority(options);
    if (!this.#closed) this.#makeDirty(key, priority);
  }

  /**
   * The key has to run once `delayMs` milliseconds have passed, with priority 0; at once if that isn't positive. Nothing
   * happens when it has to run sooner already. Ignored after {@link shutdown} and {@link drain}.
   * @throws EvenkeelError `INVALID_OPTIONS` for a delay that isn't a finite number, and for `undefined` as a key.
   */
  addAfter(key: Key, delayMs: number): void {
    acceptKey("addAfter", key);
    acceptDelay(delayMs);
    if (!this.#closed) this.#addLater(key, delayMs);
  }

  /**
   * {@link addAfter} for a key that failed: under 100 ms after the first time, by default, under 200 ms after the second, up
   * to 5 minutes (full jitter, by Brooker). Ignored, and not counted, after {@link shutdown} and {@link drain}.
   * @throws EvenkeelError `INVALID_OPTIONS` for `undefined` as a key.
   */
  addRateLimited(key: Key): void {
    acceptKey("addRateLimited", key);
    if (!this.#closed) this.#addLater(key, this.#backoff.next(key));
  }

  /**
   * The next key, which is in process until {@link done} is called for it; `undefined` when no more will come, after
   * {@link shutdown} or towards the end of {@link drain}. Waits until there is either.
   * @param signal - ends the waiting, with its reason. No key is lost by that.
   * @throws EvenkeelError `INVALID_OPTIONS` for a signal that isn't one.
   */
  async get(signal?: AbortSignal): Promise<Key | undefined> {
    acceptSignal(signal);
    signal?.throwIfAborted();
    // Those who wait already are served first.
    if (this.#waiters.size === 0 && this.#ready.size > 0) return this.#take();
    if (this.#isOver()) return undefined;
    return this.#waiters.wait(signal);
  }

  /** The key is no longer in process. If it was added meanwhile it is ready again. One that isn't in process: no effect. */
  done(key: Key): void {
    const taken = this.#processing.get(key);
    if (taken === undefined) return;
    this.#processing.delete(key);
    const now = this.#clock.monotonic();
    const workedMs = now - taken.startedAt;
    this.#metrics.finished(workedMs);
    this.#tellDone({ queuedMs: taken.queuedMs, workedMs });
    const dirty = this.#dirty.get(key);
    if (dirty !== undefined) this.#makeReady(dirty, now);
    this.#noticeEnd();
  }

  /** The key succeeded: its next failure is the first again. Does not replace {@link done}. */
  forget(key: Key): void {
    this.#backoff.forget(key);
  }

  /** How often {@link addRateLimited} was called for the key since it was last forgotten. */
  retries(key: Key): number {
    return this.#backoff.retries(key);
  }

  /**
   * Ends as client-go's does: adds are ignored and **delayed keys are dropped**; what is queued is still handed out, and then
   * {@link get} gives `undefined`, at once to whoever waits. A key in process that was added again is ready once it is done. Waits
   * for nobody; {@link drain} waits for what is in process. Twice is harmless, and so is after {@link drain}, which it cuts short.
   */
  shutdown(): void {
    this.#closed = true;
    this.#shutDown = true;
    this.#delaying.clear();
    this.#noticeEnd();
  }

  /**
   * Ends in good order: adds are ignored and **delayed keys are dropped** (retries, too); what is queued is still handed out.
   * Resolves when the last key is done, which needs workers that go on until {@link get} gives `undefined`. After
   * {@link shutdown} it resolves when what was in process is done.
   */
  drain(): Promise<void> {
    this.#closed = true;
    this.#delaying.clear();
    return new Promise((resolve) => {
      this.#drains.add(resolve);
      this.#noticeEnd();
    });
  }

  /** The seven metrics of client-go's work queue at this moment, for any exporter; no label names a key. */
  metrics(): MetricSample[] {
    const now = this.#clock.monotonic();
    return this.#metrics.samples({
      depth: this.#dirty.size,
      inProcessMs: Array.from(this.#processing.values(), ({ startedAt }) => now - startedAt),
    });
  }

  #addLater(key: Key, delayMs: number): void {
    this.#metrics.retried();
    if (delayMs <= 0) this.#makeDirty(key, 0);
    else if (!this.#dirty.has(key)) this.#delaying.addAfter(key, delayMs);
  }

  #makeDirty(key: Key, priority: number): void {
    const known = this.#dirty.get(key);
    if (known !== undefined) {
      this.#ready.raise(known, priority);
      return;
    }
    this.#delaying.cancel(key);
    this.#metrics.added();
    const now = this.#clock.monotonic();
    const dirty = new DirtyKey(key, now, priority);
    this.#dirty.set(key, dirty);
    if (!this.#processing.has(key)) this.#makeReady(dirty, now);
  }

  #makeReady(dirty: DirtyKey<Key>, now: number): void {
    this.#ready.push(dirty, now);
    if (this.#dispatching || this.#waiters.size === 0) return;
    this.#dispatching = true;
    // Not at once: what is added in one go is one run a key, and the highest priority of it goes first.
    queueMicrotask(() => this.#dispatch());
  }

  #take(): Key | undefined {
    const dirty = this.#ready.pop();
    if (dirty === undefined) return undefined;
    const now = this.#clock.monotonic();
    this.#dirty.delete(dirty.key);
    const queuedMs = now - dirty.addedAt;
    this.#processing.set(dirty.key, { startedAt: now, queuedMs });
    this.#metrics.taken(queuedMs);
    this.#noticeEnd();
    return dirty.key;
  }

  #tellDone(durations: WorkDurations): void {
    try {
      dropRejection(this.#onDone(durations));
    } catch {
      // Whoever counts must not decide what happens to a key.
    }
  }

  #dispatch(): void {
    this.#dispatching = false;
    while (this.#ready.size > 0 && this.#waiters.size > 0) this.#waiters.serve(() => this.#take());
  }

  /** Whether nobody need wait for a key any more. While draining, one in process may be dirty, and comes back. */
  #isOver(): boolean {
    return this.#closed && (this.#shutDown ? this.#ready : this.#dirty).size === 0;
  }

  #noticeEnd(): void {
    if (this.#isOver()) this.#waiters.serveAll(undefined);
    if (this.#processing.size > 0 || !(this.#shutDown || this.#isOver())) return;
    for (const resolve of this.#drains) resolve();
    this.#drains.clear();
  }
}
