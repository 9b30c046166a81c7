import { describe, expect, it } from "vitest";
import { refusal, setUp, takeAll } from "./work-queue-set-up.ts";

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

  it("lets a raised key pass those that it was behind", async () => {
    const { queue } = setUp();
    for (const key of ["a", "b", "c", "d"]) queue.add(key);
    queue.add("d", { priority: 1 });
    expect(await queue.get()).toBe("d");
  });

  it("keeps a key that is raised while in process behind a higher one that waits", async () => {
    const { queue } = setUp();
    queue.add("a");
    await queue.get();
    queue.add("high", { priority: 5 });
    queue.add("a");
    queue.add("a", { priority: 1 });
    expect(await takeAll(queue)).toEqual(["high"]);
    queue.done("a");
    expect(await takeAll(queue)).toEqual(["a"]);
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
