import { AsyncLocalStorage } from "node:async_hooks";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { afterPendingIo } from "../../src/clock.ts";

describe("ManualClock", () => {
  it("stands still until it is advanced", async () => {
    const clock = new ManualClock(1_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
    await clock.advance(250);
    expect([clock.now(), clock.monotonic()]).toEqual([1_250, 250]);
  });

  it("fires timers in the order in which they are due, each at its moment", async () => {
    const clock = new ManualClock(0);
    const fired: [string, number][] = [];
    const note = (name: string) => () => fired.push([name, clock.now()]);
    clock.setTimer(30, note("c"));
    clock.setTimer(10, note("a"));
    clock.setTimer(20, note("b"));
    await clock.advance(30);
    expect(fired).toEqual([
      ["a", 10],
      ["b", 20],
      ["c", 30],
    ]);
  });

  it("fires timers of one moment in the order in which they were set", async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    for (let index = 0; index < 20; index += 1) clock.setTimer(10, () => fired.push(index));
    await clock.advance(10);
    expect(fired).toEqual(Array.from({ length: 20 }, (_, index) => index));
  });

  it("does not fire a timer before it is due", async () => {
    const clock = new ManualClock();
    let fired = false;
    clock.setTimer(10, () => {
      fired = true;
    });
    await clock.advance(9.999);
    expect(fired).toBe(false);
    await clock.advance(0.001);
    expect(fired).toBe(true);
  });

  it("fires a timer that a fired timer's continuation sets within the span", async () => {
    const clock = new ManualClock(0);
    const woken: number[] = [];
    const sleeper = async () => {
      for (let time = 0; time < 4; time += 1) {
        await clock.sleep(10);
        await Promise.resolve();
        woken.push(clock.now());
      }
    };
    const slept = sleeper();
    await clock.advance(35);
    expect(woken).toEqual([10, 20, 30]);
    await clock.advance(5);
    await slept;
    expect(clock.pendingTimers).toBe(0);
  });

  it("settles work that is grouped behind pending I/O between two timers", async () => {
    const clock = new ManualClock(0);
    const seen: number[] = [];
    clock.setTimer(10, () =>
      afterPendingIo(() => afterPendingIo(() => clock.setTimer(5, () => seen.push(clock.now())))),
    );
    clock.setTimer(40, () => seen.push(clock.now()));
    await clock.advance(40);
    expect(seen).toEqual([15, 40]);
  });

  it("settles what is ready before the first timer", async () => {
    const clock = new ManualClock(0);
    let wokenAt: number | undefined;
    void Promise.resolve().then(async () => {
      await clock.sleep(10);
      wokenAt = clock.now();
    });
    await clock.advance(10);
    expect(wokenAt).toBe(10);
  });

  it("fires a timer of no time at the next advance, also of nothing", async () => {
    const clock = new ManualClock();
    let fired = 0;
    clock.setTimer(0, () => fired++);
    clock.setTimer(-5, () => fired++);
    expect(fired).toBe(0);
    await clock.advance(0);
    expect(fired).toBe(2);
  });

  it("never fires a timer that was cleared, also in the same moment", async () => {
    const clock = new ManualClock();
    let fired = false;
    const doomed = clock.setTimer(10, () => {
      fired = true;
    });
    const first = clock.setTimer(5, () => doomed.clear());
    await clock.advance(20);
    first.clear();
    expect(fired).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it("adds the spans of advances that overlap", async () => {
    const clock = new ManualClock(0);
    const seen: number[] = [];
    clock.setTimer(15, () => seen.push(clock.now()));
    await Promise.all([clock.advance(10), clock.advance(10)]);
    expect(clock.now()).toBe(20);
    expect(seen).toEqual([15]);
  });

  it("counts the timers that are pending", async () => {
    const clock = new ManualClock();
    const timer = clock.setTimer(10, () => {});
    clock.setTimer(20, () => {});
    expect(clock.pendingTimers).toBe(2);
    timer.clear();
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(20);
    expect(clock.pendingTimers).toBe(0);
  });

  it("wakes a sleeper by its signal, with the signal's reason, and leaves no timer", async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const slept = clock.sleep(1_000, controller.signal);
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(slept).rejects.toBe(reason);
    await expect(clock.sleep(10, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(clock.pendingTimers).toBe(0);
  });

  it("sets the wall clock alone, forwards and back, without firing anything", async () => {
    const clock = new ManualClock(1_000_000);
    let fired = false;
    clock.setTimer(100, () => {
      fired = true;
    });
    await clock.set(9_000_000);
    expect([clock.now(), clock.monotonic(), fired]).toEqual([9_000_000, 0, false]);
    await clock.set(5);
    expect(clock.now()).toBe(5);
    await clock.advance(100);
    expect([clock.now(), clock.monotonic(), fired]).toEqual([105, 100, true]);
  });

  it("keeps the async context of whoever set the timer", async () => {
    const clock = new ManualClock();
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    context.run("a", () => clock.setTimer(10, () => seen.push(context.getStore())));
    context.run("b", () => clock.setTimer(10, () => seen.push(context.getStore())));
    await clock.advance(10);
    expect(seen).toEqual(["a", "b"]);
  });

  it("rejects with what a timer throws, and goes on afterwards", async () => {
    const clock = new ManualClock(0);
    clock.setTimer(10, () => {
      throw new Error("a timer's own");
    });
    await expect(clock.advance(20)).rejects.toThrow("a timer's own");
    await clock.advance(5);
    expect(clock.now()).toBe(15);
  });

  it("fires timers that are longer than Node's longest", async () => {
    const clock = new ManualClock(0);
    let firedAt: number | undefined;
    clock.setTimer(2 ** 40, () => {
      firedAt = clock.now();
    });
    await clock.advance(2 ** 40 - 1);
    expect(firedAt).toBeUndefined();
    await clock.advance(1);
    expect(firedAt).toBe(2 ** 40);
  });

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, "5s", undefined])("refuses to move by %s", async (ms) => {
    await expect(new ManualClock().advance(ms as number)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });

  it.each([-1, Number.NaN, Number.NEGATIVE_INFINITY])("refuses %s as a moment", async (at) => {
    expect(() => new ManualClock(at)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    await expect(new ManualClock().set(at)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });

  it("refuses a timer of no number", () => {
    expect(() => new ManualClock().setTimer(Number.NaN, () => {})).toThrow("ms must be a number");
  });
});
