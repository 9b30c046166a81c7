import type { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { WorkQueue } from "../../src/reconcile/work-queue.ts";
import { setUp, watch } from "./work-queue-set-up.ts";

/** Works until there is no more; each key takes so long. */
async function work(queue: WorkQueue<string>, clock: ManualClock, ms: number): Promise<string[]> {
  const worked: string[] = [];
  for (let key = await queue.get(); key !== undefined; key = await queue.get()) {
    await clock.sleep(ms);
    worked.push(key);
    queue.done(key);
  }
  return worked;
}

describe("drain", () => {
  it("resolves once what is queued and what is in process is done, and no sooner", async () => {
    const { queue, clock } = setUp();
    for (const key of ["a", "b", "c"]) queue.add(key);
    const worked = work(queue, clock, 1_000);
    const drained = watch(queue.drain());
    await clock.advance(2_999);
    expect(drained.settled).toBe(false);
    await clock.advance(1);
    expect(drained.settled).toBe(true);
    expect(await worked).toEqual(["a", "b", "c"]);
  });

  it("runs a key once more that was added while in process, and tells the other workers only then", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    const busy = work(queue, clock, 1_000);
    const idle = work(queue, clock, 1_000);
    const idleDone = watch(idle);
    await clock.advance(500);
    queue.add("a");
    const drained = watch(queue.drain());
    await clock.advance(499);
    expect(idleDone.settled).toBe(false);
    await clock.advance(1);
    expect(drained.settled).toBe(false);
    await clock.advance(1_000);
    expect(drained.settled).toBe(true);
    expect([...(await busy), ...(await idle)]).toEqual(["a", "a"]);
  });

  it("hands the last key to the one who waits for it, and tells the rest that it was the last", async () => {
    const { queue } = setUp();
    const waiting = [queue.get(), queue.get()];
    queue.add("a");
    const drained = queue.drain();
    expect(await Promise.all(waiting)).toEqual(["a", undefined]);
    queue.done("a");
    await drained;
  });

  it("drops delayed keys, and their timer", async () => {
    const { queue, clock } = setUp();
    queue.addAfter("a", 1_000);
    queue.addRateLimited("b");
    await queue.drain();
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(300_000);
    expect(await queue.get()).toBeUndefined();
  });

  it("ignores adds from then on", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    const drained = queue.drain();
    queue.add("b");
    queue.addAfter("b", 0);
    queue.addAfter("b", 100);
    queue.addRateLimited("b");
    expect(clock.pendingTimers).toBe(0);
    expect(queue.retries("b")).toBe(0);
    const worked = work(queue, clock, 1_000);
    await clock.advance(10_000);
    expect(await worked).toEqual(["a"]);
    await drained;
  });

  it("resolves at once when there is nothing, and as often as it is asked", async () => {
    const { queue } = setUp();
    await Promise.all([queue.drain(), queue.drain()]);
    await queue.drain();
    expect(await queue.get()).toBeUndefined();
  });

  it("is cut short by shutdown, to what is in process", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    queue.add("b");
    await queue.get();
    const drained = watch(queue.drain());
    queue.shutdown();
    await clock.advance(0);
    expect(drained.settled).toBe(false);
    queue.done("a");
    await clock.advance(0);
    expect(drained.settled).toBe(true);
    expect(await queue.get()).toBe("b");
  });
});

describe("shutdown", () => {
  it("tells all who wait, and all who ask later, that there is no more", async () => {
    const { queue } = setUp();
    const waiting = [queue.get(), queue.get(new AbortController().signal)];
    queue.shutdown();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
    expect(await queue.get()).toBeUndefined();
  });

  it("still hands out what is queued, drops what is delayed, and keeps no timer", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    queue.add("b");
    queue.addAfter("c", 1_000);
    queue.shutdown();
    expect(queue.size).toBe(2);
    expect(clock.pendingTimers).toBe(0);
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual(["a", "b", undefined]);
    await clock.advance(10_000);
    expect(await queue.get()).toBeUndefined();
  });

  it("runs a key once more that was added while in process, and keeps no other worker waiting for that", async () => {
    const { queue } = setUp();
    queue.add("a");
    await queue.get();
    queue.add("a");
    const waiting = queue.get();
    queue.shutdown();
    expect(await waiting).toBeUndefined();
    expect(await queue.get()).toBeUndefined();
    queue.done("a");
    expect(await queue.get()).toBe("a");
    expect(await queue.get()).toBeUndefined();
  });

  it("hands a key that came in the same go to the worker that waits, and tells the rest that it was the last", async () => {
    const { queue } = setUp();
    const waiting = [queue.get(), queue.get()];
    queue.add("a");
    queue.shutdown();
    expect(await Promise.all(waiting)).toEqual(["a", undefined]);
  });

  it("ignores adds from then on, and a second shutdown", async () => {
    const { queue, clock } = setUp();
    queue.shutdown();
    queue.shutdown();
    queue.add("a", { priority: 3 });
    queue.addAfter("a", 100);
    queue.addRateLimited("a");
    expect(queue.size).toBe(0);
    expect(queue.retries("a")).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    expect(await queue.get()).toBeUndefined();
  });

  it("leaves what is in process to its worker, and drain waits for that", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    const worked = work(queue, clock, 1_000);
    await clock.advance(0);
    queue.shutdown();
    const drained = watch(queue.drain());
    await clock.advance(999);
    expect(drained.settled).toBe(false);
    await clock.advance(1);
    expect(drained.settled).toBe(true);
    expect(await worked).toEqual(["a"]);
  });

  it("still rejects a get whose signal is aborted", async () => {
    const { queue } = setUp();
    queue.shutdown();
    await expect(queue.get(AbortSignal.abort("enough"))).rejects.toBe("enough");
  });
});
