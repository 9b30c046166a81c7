import { ManualClock } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { WorkQueue } from "../../src/reconcile/work-queue.ts";
import type { WorkQueueOptions } from "../../src/reconcile/work-queue-options.ts";

const clocks: ManualClock[] = [];

// Whatever a test did, no timer of it may be left.
afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** Chance that always falls in the middle: the backoff is half of its bound. */
export const HALF = { bytes: (length: number) => new Uint8Array(length), float: () => 0.5 };

/** A queue on a clock of its own, whose backoff is 50 ms, 100 ms, 200 ms, …; checked for timers after the test. */
export function setUp(options: WorkQueueOptions = {}) {
  const clock = new ManualClock();
  clocks.push(clock);
  return { clock, queue: new WorkQueue<string>({ clock, random: HALF, ...options }) };
}

/** Takes what can be taken now, and leaves it in process. */
export async function takeAll<Key>(queue: WorkQueue<Key>): Promise<Key[]> {
  const taken: Key[] = [];
  while (queue.size > 0) taken.push((await queue.get()) as Key);
  return taken;
}

/** Where a promise stands; looked at again each time. */
export function watch<T>(promise: Promise<T>): { settled: boolean; value?: T } {
  const seen: { settled: boolean; value?: T } = { settled: false };
  promise.then((value) => Object.assign(seen, { settled: true, value }));
  return seen;
}

/** An error about options that names what is wrong. */
export function refusal(name: string) {
  return expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) });
}
