import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { DelayingQueue } from "../../src/reconcile/delaying-queue.ts";

function setUp() {
  const clock = new ManualClock();
  const due: { key: string; at: number }[] = [];
  const queue = new DelayingQueue<string>({ clock, onDue: (key) => due.push({ key, at: clock.monotonic() }) });
  return { clock, queue, due };
}

describe("DelayingQueue", () => {
  it("hands each key on once, at its own moment, and knows it no longer", async () => {
    const { clock, queue, due } = setUp();
    for (const [key, ms] of [
      ["c", 30],
      ["a", 10],
      ["b", 20],
      ["a too", 10],
    ] as const)
      queue.addAfter(key, ms);
    await clock.advance(1_000);
    expect(due).toEqual([
      { key: "a", at: 10 },
      { key: "a too", at: 10 },
      { key: "b", at: 20 },
      { key: "c", at: 30 },
    ]);
    expect(queue.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it("takes a key again that has come due", async () => {
    const { clock, queue, due } = setUp();
    queue.addAfter("a", 10);
    await clock.advance(10);
    queue.addAfter("a", 50);
    await clock.advance(50);
    expect(due.map(({ at }) => at)).toEqual([10, 60]);
  });

  it("lets what a due key sets off delay it again", async () => {
    const clock = new ManualClock();
    const moments: number[] = [];
    const queue: DelayingQueue<string> = new DelayingQueue({
      clock,
      onDue: (key) => {
        moments.push(clock.monotonic());
        if (moments.length < 3) queue.addAfter(key, 100);
      },
    });
    queue.addAfter("a", 100);
    await clock.advance(1_000);
    expect(moments).toEqual([100, 200, 300]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("moves its timer to the next key when the earliest is called off, and drops it with the last", async () => {
    const { clock, queue, due } = setUp();
    queue.addAfter("a", 10);
    queue.addAfter("b", 20);
    queue.cancel("a");
    queue.cancel("nobody");
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(15);
    expect(due).toEqual([]);
    queue.cancel("b");
    expect(clock.pendingTimers).toBe(0);
  });

  it("hands on so many keys at a time that no turn of the event loop is long", async () => {
    const clock = new ManualClock();
    const turns: number[] = [];
    let due = 0;
    const counted: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      setTimer: (ms, fire) =>
        clock.setTimer(ms, () => {
          const before = due;
          fire();
          turns.push(due - before);
        }),
    };
    const queue = new DelayingQueue<number>({
      clock: counted,
      onDue: () => {
        due += 1;
      },
    });
    for (let key = 0; key < 25_000; key += 1) queue.addAfter(key, 10);
    await clock.advance(10);
    expect(turns).toEqual([10_000, 10_000, 5_000]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("drops all at once", async () => {
    const { clock, queue, due } = setUp();
    queue.addAfter("a", 10);
    queue.addAfter("b", 20);
    queue.clear();
    expect({ size: queue.size, timers: clock.pendingTimers }).toEqual({ size: 0, timers: 0 });
    await clock.advance(1_000);
    expect(due).toEqual([]);
  });
});
