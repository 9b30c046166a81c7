import { setTimeout as sleep } from "node:timers/promises";

/** Aborts as soon as it is enough, but not before the least time, and at the latest after the most, or with the other. */
export function endsWhen(
  isEnough: () => boolean,
  { leastMs, mostMs, signal }: { readonly leastMs: number; readonly mostMs: number; readonly signal: AbortSignal },
): AbortSignal {
  const ending = new AbortController();
  const began = performance.now();
  void (async () => {
    await sleep(leastMs, undefined, { signal }).catch(() => {});
    while (!signal.aborted && performance.now() - began < mostMs && !isEnough()) await sleep(100);
    ending.abort();
  })();
  return ending.signal;
}

/** Aborts so long after the other. */
export function endsBehind(other: AbortSignal, ms: number): AbortSignal {
  const ending = new AbortController();
  other.addEventListener("abort", () => void setTimeout(() => ending.abort(), ms).unref(), { once: true });
  return ending.signal;
}
