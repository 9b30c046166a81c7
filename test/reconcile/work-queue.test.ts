import { ManualClock } from "evenkeel/testing";
import { afterEach, describe, expect, it } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { WorkQueue, type WorkQueueOptions } from "../../src/reconcile/work-queue.ts";

const clocks: ManualClock[] = [];

afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** A queue on a clock of its own, whose backoff is half of its bound: 50 ms, 100 ms, 200 ms, … */
function setUp(options: WorkQueueOptions = {}) {
  const clock = new ManualClock();
  clocks.push(clock);
  const random = { bytes: (length: number) => new Uint8Array(length), float: () => 0.5 };
  return { clock, queue: new WorkQueue<string>({ clock, random, ...options }) };
}

/** Takes what can be taken now, and leaves it in process. */
async function takeAll<Key>(queue: WorkQueue<Key>): Promise<Key[]> {
  const taken: Key[] = [];
  while (queue.size > 0) taken.push((await queue.get()) as Key);
  return taken;
}

/** Where a promise stands; looked at again each time. */
function watch<T>(promise: Promise<T>): { settled: boolean; value?: T; error?: unknown } {
  const seen: { settled: boolean; value?: T; error?: unknown } = { settled: false };
  promise.then(
    (value) => Object.assign(seen, { settled: true, value }),
    (error: unknown) => Object.assign(seen, { settled: true, error }),
  );
  return seen;
}

function refusal(name: string) {
  return expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) });
}

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

describe("delays", () => {
  it("hands a key out when its time has come, and not a millisecond before", async () => {
    const { queue, clock } = setUp();
    queue.addAfter("a", 1_000);
    await clock.advance(999);
    expect(queue.size).toBe(0);
    await clock.advance(1);
    expect(await takeAll(queue)).toEqual(["a"]);
  });

  it("wakes who waits in get", async () => {
    const { queue, clock } = setUp();
    const taken = watch(queue.get());
    queue.addAfter("a", 1_000);
    await clock.advance(1_000);
    expect(taken.value).toBe("a");
  });

  it.each([
    ["the earlier after the later", [2_000, 1_000]],
    ["the later after the earlier", [1_000, 2_000]],
  ])("keeps the earliest of several times: %s", async (_, [first = 0, second = 0]) => {
    const { queue, clock } = setUp();
    queue.addAfter("a", first);
    queue.addAfter("a", second);
    await clock.advance(1_000);
    expect(await takeAll(queue)).toEqual(["a"]);
    queue.done("a");
    await clock.advance(10_000);
    expect(queue.size).toBe(0);
  });

  it("lets an add now absorb a delayed one, whichever was first", async () => {
    const { queue, clock } = setUp();
    queue.addAfter("a", 1_000);
    queue.add("a");
    queue.addAfter("a", 1_000);
    expect(clock.pendingTimers).toBe(0);
    expect(await takeAll(queue)).toEqual(["a"]);
    queue.done("a");
    await clock.advance(10_000);
    expect(queue.size).toBe(0);
  });

  it("lets an add of a key in process absorb a delayed one", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    await queue.get();
    queue.addAfter("a", 1_000);
    queue.add("a");
    queue.addAfter("a", 500);
    expect(clock.pendingTimers).toBe(0);
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["a"]);
    queue.done("a");
    await clock.advance(10_000);
    expect(queue.size).toBe(0);
  });

  it("does not run a key beside itself when its time comes while it is in process", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    await queue.get();
    queue.addAfter("a", 100);
    await clock.advance(1_000);
    expect(queue.size).toBe(0);
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["a"]);
  });

  it("has one timer for 1,000 keys, for the earliest", async () => {
    const { queue, clock } = setUp();
    for (let key = 1_000; key > 0; key -= 1) queue.addAfter(`${key}`, key * 10);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(50);
    expect(clock.pendingTimers).toBe(1);
    expect(await takeAll(queue)).toEqual(["1", "2", "3", "4", "5"]);
    queue.shutdown();
  });

  it("hands on 25,000 keys that are due at one moment, in turns", async () => {
    const { queue, clock } = setUp();
    for (let key = 0; key < 25_000; key += 1) queue.addAfter(`${key}`, 10);
    await clock.advance(10);
    expect(queue.size).toBe(25_000);
    expect(await queue.get()).toBe("0");
  });

  it("waits for the rest when a timer fires early, as real ones do", async () => {
    const { clock } = setUp();
    const early: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      setTimer: (ms, fire) => clock.setTimer(ms > 1 ? ms - 1 : ms, fire),
    };
    const queue = new WorkQueue<string>({ clock: early });
    queue.addAfter("a", 100);
    await clock.advance(99);
    expect(queue.size).toBe(0);
    await clock.advance(1);
    expect(queue.size).toBe(1);
  });

  it("counts fractions of milliseconds to their end", async () => {
    const { queue, clock } = setUp();
    await clock.advance(0.1);
    for (let key = 0; key < 200; key += 1) queue.addAfter(`${key}`, key * 0.7 + 0.2);
    await clock.advance(200);
    expect(queue.size).toBe(200);
  });

  it.each([0, -0, -1, -1e300])("adds at once for a delay of %d", async (delayMs) => {
    const { queue } = setUp();
    queue.addAfter("a", delayMs);
    expect(await takeAll(queue)).toEqual(["a"]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, "5", undefined, null])(
    "refuses a delay of %o, open or shut down",
    (delayMs) => {
      const { queue } = setUp();
      expect(() => queue.addAfter("a", delayMs as number)).toThrow(refusal("delayMs"));
      queue.shutdown();
      expect(() => queue.addAfter("a", delayMs as number)).toThrow(refusal("delayMs"));
    },
  );

  it("keeps its delays when the wall clock is set back, or ahead", async () => {
    const { queue, clock } = setUp();
    queue.addAfter("a", 1_000);
    await clock.set(0);
    await clock.advance(999);
    await clock.set(4_000_000_000_000);
    expect(queue.size).toBe(0);
    await clock.advance(1);
    expect(await takeAll(queue)).toEqual(["a"]);
  });
});

describe("addRateLimited", () => {
  it("waits twice as long after each failure, until the key is forgotten", async () => {
    const { queue, clock } = setUp({ baseDelayMs: 1_000, maxDelayMs: 4_000 });
    const waits: number[] = [];
    for (let failure = 0; failure < 5; failure += 1) {
      const since = clock.monotonic();
      queue.addRateLimited("a");
      const taken = queue.get();
      while (queue.size === 0 && clock.pendingTimers > 0) await clock.advance(100);
      await taken;
      waits.push(clock.monotonic() - since);
      queue.done("a");
    }
    expect(waits).toEqual([500, 1_000, 2_000, 2_000, 2_000]);
    expect(queue.retries("a")).toBe(5);
    queue.forget("a");
    expect(queue.retries("a")).toBe(0);
    queue.addRateLimited("a");
    await clock.advance(500);
    expect(queue.size).toBe(1);
  });

  it("is absorbed by a change that comes meanwhile, and still counts", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    await queue.get();
    queue.add("a");
    queue.addRateLimited("a");
    queue.done("a");
    expect(clock.pendingTimers).toBe(0);
    expect(queue.size).toBe(1);
    expect(queue.retries("a")).toBe(1);
  });
});

describe("priorities", () => {
  it("hands out the higher first, and equals in the order of their adds", async () => {
    const { queue } = setUp();
    queue.add("low", { priority: -1 });
    queue.add("a");
    queue.add("b", { priority: 0 });
    queue.add("high", { priority: 2 });
    queue.add("c");
    expect(await takeAll(queue)).toEqual(["high", "a", "b", "c", "low"]);
  });

  it("hands the higher of one go to the worker that waits", async () => {
    const { queue } = setUp();
    const taken = queue.get();
    queue.add("low");
    queue.add("high", { priority: 1 });
    expect(await taken).toBe("high");
  });

  it("raises a key that is added again with a higher one, in process too, and never lowers it", async () => {
    const { queue } = setUp();
    queue.add("a");
    await queue.get();
    for (const key of ["b", "c", "a"]) queue.add(key);
    queue.add("a", { priority: 2 });
    queue.add("c", { priority: 1 });
    queue.add("c", { priority: -5 });
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["a", "c", "b"]);
  });

  it("forgets the priority once the key was handed out", async () => {
    const { queue } = setUp();
    queue.add("a", { priority: 9 });
    await queue.get();
    queue.done("a");
    queue.add("b");
    queue.add("a");
    expect(await takeAll(queue)).toEqual(["b", "a"]);
  });

  it("lets a key rise by a level a second", async () => {
    const { queue, clock } = setUp();
    queue.add("old");
    await clock.advance(2_999);
    queue.add("ahead", { priority: 3 });
    await clock.advance(1);
    queue.add("behind", { priority: 3 });
    expect(await takeAll(queue)).toEqual(["ahead", "old", "behind"]);
  });

  it("starves nobody: under a stream of priority 10, a key of priority 0 waits ten seconds", async () => {
    const { queue, clock } = setUp();
    queue.add("low");
    let taken: string | undefined;
    for (let turn = 0; taken !== "low" && turn < 1_000; turn += 1) {
      queue.add(`high-${turn}`, { priority: 10 });
      queue.add(`high-${turn}-too`, { priority: 10 });
      taken = await queue.get();
      await clock.advance(100);
    }
    expect(taken).toBe("low");
    // Those that were added in these ten seconds, at twice the speed of the worker, are before it.
    expect(clock.monotonic()).toBeLessThanOrEqual(20_200);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(10_000);
  });

  it("puts a key that was added while in process behind those that wait when it is done", async () => {
    const { queue, clock } = setUp();
    queue.add("a");
    await queue.get();
    queue.add("a");
    await clock.advance(1);
    queue.add("b");
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["b", "a"]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 0.5, "1", null])("refuses a priority of %o", (priority) => {
    const { queue } = setUp();
    expect(() => queue.add("a", { priority: priority as number })).toThrow(refusal("priority"));
    expect(queue.size).toBe(0);
  });

  it("refuses options of add that there are not", () => {
    const { queue } = setUp();
    expect(() => queue.add("a", { prio: 1 } as object)).toThrow(refusal("prio"));
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

it("queues and hands out 1,000,000 keys within the test's time, which no list that is shifted would", async () => {
  const queue = new WorkQueue<number>();
  for (let key = 0; key < 1_000_000; key += 1) {
    if (key % 10 === 0) queue.addAfter(key, 1_000_000 - key);
    queue.add(key, key % 10 === 1 ? { priority: key % 8 } : undefined);
  }
  for (let turn = 0; turn < 1_000_000; turn += 1) queue.done((await queue.get()) as number);
  expect(queue.size).toBe(0);
  await queue.drain();
});
