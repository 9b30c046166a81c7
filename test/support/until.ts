import { setTimeout as sleep } from "node:timers/promises";

const PATIENCE_MS = 50_000;

/**
 * Waits until a condition holds, asking every 20 ms. A condition that throws does not hold.
 *
 * @throws an error that names what didn't come about, after 50 s.
 */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  let last: unknown;
  for (;;) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`it never came about that ${what}`, { cause: last });
    await sleep(20);
  }
}
