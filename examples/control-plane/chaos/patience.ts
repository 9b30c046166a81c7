import { setTimeout as sleep } from "node:timers/promises";
import { isEvenkeelError } from "evenkeel";

/** What does not come about on a busy machine within this either is given up, in milliseconds. */
export const PATIENCE_MS = 60_000;

/** Asks until the answer is yes. @returns whether it was, in time. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  { withinMs = PATIENCE_MS, everyMs = 50 }: { readonly withinMs?: number; readonly everyMs?: number } = {},
): Promise<boolean> {
  for (const deadline = performance.now() + withinMs; ; await sleep(everyMs)) {
    if (await holds()) return true;
    if (performance.now() > deadline) return false;
  }
}

/**
 * Asks a ledger again that is slow, or away, for once: nothing is wrong with the control plane for that.
 * @throws what asking did, where asking again does not help, or has not in all that time.
 */
export async function patiently<T>(ask: () => Promise<T>, withinMs = PATIENCE_MS): Promise<T> {
  for (const deadline = performance.now() + withinMs; ; await sleep(50)) {
    try {
      return await ask();
    } catch (error) {
      if (!isEvenkeelError(error) || !error.retryable || performance.now() > deadline) throw error;
    }
  }
}
