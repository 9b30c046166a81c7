import { onAbort } from "./abort-listeners.ts";
import type { Clock } from "./clock.ts";
import { EvenkeelError, isEvenkeelError } from "./errors.ts";
import type { Random } from "./random.ts";
import type { StoreCall } from "./store.ts";

/** What a caller is told to wait after the store failed it. */
const RETRY_AFTER_MS = 1_000;
const FIRST_BACKOFF_MS = 10;
const LONGEST_BACKOFF_MS = 500;

export interface StoreOperation<T> {
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds that the whole operation may take, repetitions included. */
  readonly budgetMs: number;
  /** One try. Every try says the same with the same nonce, so that the store does it once. */
  readonly send: (call: StoreCall) => Promise<T>;
  /** Ends the operation with its reason; what was sent stays sent. */
  readonly signal?: AbortSignal | undefined;
  /**
   * What becomes of a try that stays silent for half of the budget: it is sent once more beside the first, or waited for. `"wait"` is
   * for what no nonce makes the same when it is done twice, such as a count of what was deleted. Defaults to `"resend"`.
   */
  readonly silence?: "resend" | "wait";
  /** Called before the first repetition: whether what was sent before is carried out is unknown from then on. */
  readonly onUnknown?: () => void;
  /** Gets what a try answers after the operation was settled without it. */
  readonly onStrayAnswer?: (answer: T) => void;
  /** How much longer than the budget a try is waited for, for `onStrayAnswer`. Defaults to 0. */
  readonly strayMs?: number;
}

/**
 * Asks the store until it answers or the budget is used up. A failed try leaves open whether it was carried out, so it is
 * repeated with a jittered backoff; a try that stays silent for half of the budget is repeated once, beside the first, unless
 * `silence` says otherwise.
 *
 * @throws EvenkeelError `STORE_UNAVAILABLE` within the budget; any other `EvenkeelError` of the store as it is, at once.
 */
export function storeOperation<T>(operation: StoreOperation<T>): Promise<T> {
  const {
    clock,
    random,
    budgetMs,
    send,
    signal,
    silence = "resend",
    onUnknown,
    onStrayAnswer,
    strayMs = 0,
  } = operation;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const deadline = clock.monotonic() + budgetMs;
    let settled = false;
    let failures = 0;
    let tries = 0;
    let resent = false;
    let lastError: unknown;
    let timer = clock.setTimer(budgetMs / 2, onSilence);

    const stopListening = onAbort(signal, () => settle(() => reject(signal?.reason)));

    function settle(outcome: () => void): void {
      settled = true;
      timer.clear();
      stopListening();
      outcome();
    }

    function rearm(ms: number, fire: () => void): void {
      timer.clear();
      timer = clock.setTimer(Math.max(0, ms), fire);
    }

    function onSilence(): void {
      rearm(deadline - clock.monotonic(), onTimeout);
      if (resent || silence === "wait") return;
      resent = true;
      attempt();
    }

    function onTimeout(): void {
      settle(() => reject(unavailable(lastError ?? new Error(`no answer within ${budgetMs} ms`))));
    }

    function onFailure(error: unknown): void {
      if (settled) return;
      if (!mayHaveHappened(error)) return settle(() => reject(error));
      lastError = error;
      const backoffMs = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS) * (0.5 + random.float());
      failures += 1;
      const leftMs = deadline - clock.monotonic();
      if (backoffMs < leftMs) rearm(backoffMs, retry);
      else rearm(leftMs, onTimeout);
    }

    function retry(): void {
      rearm(deadline - clock.monotonic(), onTimeout);
      attempt();
    }

    function attempt(): void {
      tries += 1;
      if (tries === 2) onUnknown?.();
      let answer: Promise<T>;
      try {
        answer = send({ timeoutMs: Math.max(1, deadline - clock.monotonic()) + strayMs });
      } catch (error) {
        answer = Promise.reject(error);
      }
      answer.then((value) => {
        if (settled) onStrayAnswer?.(value);
        else settle(() => resolve(value));
      }, onFailure);
    }

    attempt();
  });
}

/**
 * Whether an operation that failed so may have been carried out, and may go better the next time. A failure of the engine is
 * unknown. An `EvenkeelError` is the store's own word, and final, unless it says `STORE_UNAVAILABLE` because of something
 * else.
 */
export function mayHaveHappened(error: unknown): boolean {
  return !isEvenkeelError(error) || (error.code === "STORE_UNAVAILABLE" && error.cause !== undefined);
}

function unavailable(cause: unknown): EvenkeelError {
  if (isEvenkeelError(cause)) return cause;
  const options = { retryAfterMs: RETRY_AFTER_MS, cause };
  return new EvenkeelError("STORE_UNAVAILABLE", "The store failed, or did not answer in time.", options);
}
