import { onAbort } from "../abort-listeners.ts";
import type { Clock, Timer } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { ExecutionView, LedgerStore } from "../store.ts";
import { mayHaveHappened, storeOperation } from "../store-operation.ts";

const FIRST_POLL_MS = 20;
const LONGEST_POLL_MS = 500;

export type CompletedView = Extract<ExecutionView, { status: "completed" }>;

/** What a waiter is told: the outcome, or that it is its turn to claim, and to say `done` once the claim was answered. */
export type WaitResult =
  | { readonly kind: "completed"; readonly view: CompletedView }
  | { readonly kind: "turn"; readonly done: () => void };

export interface WaitRequest {
  readonly store: LedgerStore;
  readonly id: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly storeTimeoutMs: number;
  readonly timeoutMs: number;
  /** How many may wait on this store in this process; absent: no bound. */
  readonly maxWaiters?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits until the record is settled. All waiters of one record in this process share one watcher, which polls with jitter
 * from 20 ms to 500 ms and is woken earlier where the store can push. Waiting writes nothing.
 *
 * When the owner gives up, one waiter at a time is given the turn; the others go on waiting.
 *
 * @throws EvenkeelError `WAIT_TIMEOUT`, `TOO_MANY_WAITERS`, `RECORD_CORRUPT`; or the signal's reason.
 */
export function waitForSettlement(request: WaitRequest): Promise<WaitResult> {
  const watchers = watchersOf(request.store);
  const waiting = watchers.waiting;
  if (request.maxWaiters !== undefined && waiting >= request.maxWaiters) {
    return Promise.reject(
      new EvenkeelError("TOO_MANY_WAITERS", "Too many callers wait on this store in this process.", {
        retryAfterMs: 1_000,
      }),
    );
  }
  const watcher = watchers.byId.get(request.id) ?? new Watcher(request, watchers);
  return watcher.join(request);
}

interface StoreWatchers {
  readonly byId: Map<string, Watcher>;
  waiting: number;
}

const watchersByStore = new WeakMap<LedgerStore, StoreWatchers>();

function watchersOf(store: LedgerStore): StoreWatchers {
  let watchers = watchersByStore.get(store);
  if (watchers === undefined) {
    watchers = { byId: new Map(), waiting: 0 };
    watchersByStore.set(store, watchers);
  }
  return watchers;
}

interface Waiter {
  resolve(result: WaitResult): void;
  reject(error: unknown): void;
}

/** Watches one record for all its waiters. Lives while there are any; the first one's clock and store are used. */
class Watcher {
  readonly #request: WaitRequest;
  readonly #watchers: StoreWatchers;
  /** In the order of arrival. */
  readonly #waiters = new Set<Waiter>();
  #timer: Timer | undefined;
  #unwatch: (() => void) | undefined;
  #pollMs = FIRST_POLL_MS;
  #polling = false;
  /** A hint came while a poll was under way, whose answer may be older than the hint. */
  #pollAgain = false;
  /** Somebody has the turn and hasn't come back yet: at most one at a time. */
  #turnTaken = false;
  #lastRemainingMs: number | undefined;

  constructor(request: WaitRequest, watchers: StoreWatchers) {
    this.#request = request;
    this.#watchers = watchers;
  }

  join({ clock, timeoutMs, signal }: WaitRequest): Promise<WaitResult> {
    return new Promise<WaitResult>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const leave = (): void => {
        timer.clear();
        stopListening();
        this.#waiters.delete(waiter);
        this.#watchers.waiting -= 1;
        if (this.#waiters.size === 0) this.#stop();
      };
      const waiter: Waiter = {
        resolve: (result) => {
          leave();
          resolve(result);
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      const timer = clock.setTimer(Math.max(0, timeoutMs), () => waiter.reject(this.#timeout()));
      const stopListening = onAbort(signal, () => waiter.reject(signal?.reason));
      this.#waiters.add(waiter);
      this.#watchers.waiting += 1;
      if (this.#waiters.size === 1) this.#start();
    });
  }

  #timeout(): EvenkeelError {
    return new EvenkeelError("WAIT_TIMEOUT", "The execution was still under way when maxWaitMs had passed.", {
      retryAfterMs: this.#lastRemainingMs,
    });
  }

  #start(): void {
    const { store, id } = this.#request;
    this.#watchers.byId.set(id, this);
    this.#pollMs = FIRST_POLL_MS;
    this.#unwatch = store.executions.watch?.(id, () => void this.#poll());
    // The claim that said "running" may be older than the settlement: what was missed before watching is seen now.
    this.#arm();
  }

  #stop(): void {
    this.#timer?.clear();
    this.#unwatch?.();
    this.#unwatch = undefined;
    if (this.#watchers.byId.get(this.#request.id) === this) this.#watchers.byId.delete(this.#request.id);
  }

  #arm(remainingMs = Number.POSITIVE_INFINITY): void {
    this.#timer?.clear();
    if (this.#waiters.size === 0) return;
    const jittered = this.#pollMs * (0.5 + this.#request.random.float() / 2);
    this.#timer = this.#request.clock.setTimer(Math.min(jittered, remainingMs), () => void this.#poll());
    this.#pollMs = Math.min(this.#pollMs * 1.5, LONGEST_POLL_MS);
  }

  async #poll(): Promise<void> {
    if (this.#waiters.size === 0) return;
    if (this.#polling) {
      this.#pollAgain = true;
      return;
    }
    const { store, id, clock, random, storeTimeoutMs } = this.#request;
    this.#polling = true;
    this.#pollAgain = false;
    this.#timer?.clear();
    try {
      const view = await storeOperation({
        clock,
        random,
        budgetMs: storeTimeoutMs,
        send: (call) => store.executions.get(id, call),
      });
      this.#polling = false;
      this.#tell(view);
    } catch (error) {
      this.#polling = false;
      // A store that is down may come back before the waiters' time is up; one that refuses has said its last word.
      if (mayHaveHappened(error)) this.#arm();
      else this.#tellAll((waiter) => waiter.reject(error));
    }
    if (this.#pollAgain) void this.#poll();
  }

  #tell(view: ExecutionView | undefined): void {
    if (view?.status === "completed") {
      this.#tellAll((waiter) => waiter.resolve({ kind: "completed", view }));
      return;
    }
    if (view?.status === "running") {
      this.#lastRemainingMs = view.leaseRemainingMs;
      this.#arm(view.leaseRemainingMs);
      return;
    }
    const [next] = this.#waiters;
    if (next !== undefined && !this.#turnTaken) {
      this.#turnTaken = true;
      next.resolve({ kind: "turn", done: () => this.#onTurnDone() });
    }
    this.#arm();
  }

  #onTurnDone(): void {
    this.#turnTaken = false;
    this.#pollMs = FIRST_POLL_MS;
    void this.#poll();
  }

  #tellAll(tell: (waiter: Waiter) => void): void {
    for (const waiter of [...this.#waiters]) tell(waiter);
  }
}
