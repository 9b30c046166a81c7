import { setTimeout as sleep } from "node:timers/promises";

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
