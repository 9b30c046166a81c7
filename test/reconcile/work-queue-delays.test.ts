import { describe, expect, it } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { WorkQueue } from "../../src/reconcile/work-queue.ts";
import { refusal, setUp, takeAll, watch } from "./work-queue-set-up.ts";

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
