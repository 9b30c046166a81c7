import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { WorkQueue } from "../../src/reconcile/work-queue.ts";
import { refusal, setUp, takeAll, watch } from "./work-queue-set-up.ts";

describe("one run a key", () => {
  it("makes 1,000 adds before a get one run", async () => {
    const { queue } = setUp();
    for (let add = 0; add < 1_000; add += 1) queue.add("a");
    expect(queue.size).toBe(1);
    expect(await queue.get()).toBe("a");
    queue.done("a");
    expect(queue.size).toBe(0);
  });

  it("makes 1,000 adds one run for a worker that waited before them, too", async () => {
    const { queue } = setUp();
    const taken = queue.get();
    for (let add = 0; add < 1_000; add += 1) queue.add("a");
    expect(await taken).toBe("a");
    queue.done("a");
    expect(queue.size).toBe(0);
  });

  it("makes 50 adds during a run one more run, after it and not beside it", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    await queue.get();
    for (let add = 0; add < 50; add += 1) queue.add("a");
    const second = watch(queue.get());
    await clock.advance(60_000);
    expect(second.settled).toBe(false);
    queue.done("a");
    await clock.advance(0);
    expect(second.value).toBe("a");
    queue.done("a");
    expect(queue.size).toBe(0);
  });

  it("takes done of a key that isn't in process, or is only queued, as nothing", async () => {
    const { queue } = setUp();
    queue.done("a");
    queue.add("a");
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["a"]);
    queue.done("a");
    queue.done("a");
    queue.add("a");
    expect(await takeAll(queue)).toEqual(["a"]);
  });

  it("compares keys as a Map does", async () => {
    const queue = new WorkQueue<unknown>();
    const object = {};
    for (const key of [Number.NaN, Number.NaN, object, object, {}, "1", 1, null, null]) queue.add(key);
    expect(await takeAll(queue)).toEqual([Number.NaN, object, {}, "1", 1, null]);
  });

  it("refuses undefined as a key, which get says at the end", () => {
    const queue = new WorkQueue<unknown>();
    expect(() => queue.add(undefined)).toThrow(refusal("undefined"));
    expect(() => queue.addAfter(undefined, 1)).toThrow(refusal("undefined"));
    expect(() => queue.addRateLimited(undefined)).toThrow(refusal("undefined"));
  });
});

describe("get", () => {
  it("rejects with the signal's reason when that is aborted, and takes nothing", async () => {
    const { queue } = setUp();
    queue.add("a");
    const reason = new Error("enough");
    await expect(queue.get(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await queue.get()).toBe("a");
  });

  it("loses no key when the signal aborts while it waits, or in the go in which a key comes", async () => {
    const { queue } = setUp();
    const reason = new Error("enough");
    const [early, late] = [new AbortController(), new AbortController()];
    const gaveUp = [queue.get(early.signal), queue.get(late.signal)];
    const patient = queue.get(new AbortController().signal);
    early.abort(reason);
    queue.add("a");
    late.abort(reason);
    expect(await Promise.allSettled(gaveUp)).toEqual([
      { status: "rejected", reason },
      { status: "rejected", reason },
    ]);
    expect(await patient).toBe("a");
  });

  it("gives the key even so when the signal aborts after the key was handed out", async () => {
    const { queue } = setUp();
    const controller = new AbortController();
    queue.add("a");
    const taken = queue.get(controller.signal);
    controller.abort();
    expect(await taken).toBe("a");
  });

  it("serves those who wait in the order of their coming, a key each", async () => {
    const { queue } = setUp();
    const taken = [queue.get(), queue.get(), queue.get()];
    for (const key of ["a", "b", "c"]) queue.add(key);
    expect(await Promise.all(taken)).toEqual(["a", "b", "c"]);
  });

  it("lets nobody who comes now pass those who wait", async () => {
    const { queue, clock } = setUp();
    const first = queue.get();
    queue.add("a");
    const second = watch(queue.get());
    expect(await first).toBe("a");
    await clock.advance(0);
    expect(second.settled).toBe(false);
    queue.shutdown();
  });

  it("listens to the signal only while it waits", async () => {
    const { queue } = setUp();
    const { signal } = new AbortController();
    const waiting = [queue.get(signal), queue.get(signal)];
    queue.add("a");
    await waiting[0];
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    queue.shutdown();
    await waiting[1];
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("refuses a signal that isn't one", async () => {
    const { queue } = setUp();
    await expect(queue.get({} as AbortSignal)).rejects.toEqual(refusal("signal"));
  });
});

describe("new WorkQueue", () => {
  it.each([
    [{ clock: Date }, "clock"],
    [{ random: Math.random }, "random"],
    [{ baseDelayMs: -1 }, "baseDelayMs"],
    [{ maxDelayMs: Number.NaN }, "maxDelayMs"],
    [{ baseDelayMs: 2, maxDelayMs: 1 }, "baseDelayMs"],
    [{ name: "" }, "name"],
    [{ concurrency: 3 }, "concurrency"],
    [null, "options"],
  ])("refuses %o and names what is wrong", (options, name) => {
    expect(() => new WorkQueue(options as object)).toThrow(refusal(name));
  });

  it("works on the machine's own clock", async () => {
    const queue = new WorkQueue<string>();
    const since = performance.now();
    queue.addAfter("a", 20);
    expect(await queue.get()).toBe("a");
    expect(performance.now() - since).toBeGreaterThan(19.9);
    queue.done("a");
    await queue.drain();
  });
});

it("queues and hands out 200,000 keys within the test's time, which no list that is shifted would", async () => {
  const queue = new WorkQueue<number>();
  for (let key = 0; key < 200_000; key += 1) {
    if (key % 10 === 0) queue.addAfter(key, 200_000 - key);
    queue.add(key, key % 10 === 1 ? { priority: key % 8 } : undefined);
  }
  for (let turn = 0; turn < 200_000; turn += 1) queue.done((await queue.get()) as number);
  expect(queue.size).toBe(0);
  await queue.drain();
});
