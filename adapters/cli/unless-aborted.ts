import { onAbort } from "../../src/abort-listeners.ts";

/** A promise that nobody waits for any more once the signal aborts: it rejects with the signal's reason then. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    const stopListening = onAbort(signal, () => reject(signal.reason));
    promise.then(resolve, reject).finally(stopListening);
  });
}
