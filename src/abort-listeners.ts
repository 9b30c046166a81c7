/** The callbacks that wait for one signal. */
const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `fire` once when the signal aborts. Returns what ends that.
 *
 * One real listener a signal, however many calls share it: Node warns of a leak from the eleventh on, and a service whose
 * calls all end with one shutdown signal has thousands.
 */
export function onAbort(signal: AbortSignal | undefined, fire: () => void): () => void {
  if (signal === undefined) return () => {};
  const waiting = listeners.get(signal) ?? listen(signal);
  // A callback of its own for each, so that the same function may wait twice.
  const entry = (): void => fire();
  waiting.add(entry);
  return () => {
    waiting.delete(entry);
    if (waiting.size === 0) silence(signal);
  };
}

/** Resolves once the signal has aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else onAbort(signal, resolve);
  });
}

/** Whether work that was to end ended with that: `throwIfAborted()`, `fetch()`, the timers of Node. */
export function isOfAbort(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || (error as Error | null)?.name === "AbortError");
}

function listen(signal: AbortSignal): Set<() => void> {
  const waiting = new Set<() => void>();
  listeners.set(signal, waiting);
  signal.addEventListener("abort", fireAll, { once: true });
  return waiting;
}

function silence(signal: AbortSignal): void {
  signal.removeEventListener("abort", fireAll);
  listeners.delete(signal);
}

function fireAll(this: AbortSignal): void {
  const waiting = listeners.get(this) ?? [];
  listeners.delete(this);
  for (const fire of [...waiting]) fire();
}
