/**
 * What a call answers, or fails with, if it does so before a timer of this process that was set beside it goes off. Both timers
 * of a process that the machine does not let run come late together, so this judges what the call waits for and not the
 * machine, as the wall clock would.
 *
 * @throws an error that says so when the timer goes off first.
 */
export function inTime<T>(ms: number, call: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not settled within ${ms} ms`)), ms);
    call.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
