import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RedisDeadlines } from "../../../adapters/stores/redis-deadlines.ts";
import { AdjustableClock } from "../../support/adjustable-clock.ts";

const never = (): Promise<never> => new Promise(() => {});

describe("RedisDeadlines", () => {
  let clock: AdjustableClock;
  let deadlines: RedisDeadlines;
  let warnings: Error[];
  const warned = (warning: Error): void => void warnings.push(warning);
  beforeEach(() => {
    clock = new AdjustableClock();
    deadlines = new RedisDeadlines(clock);
    warnings = [];
    process.on("warning", warned);
  });
  afterEach(() => void process.off("warning", warned));

  it("refuses each of many calls that nobody answers, and takes back what they wrote", async () => {
    const signals: AbortSignal[] = [];
    const calls = Array.from({ length: 200 }, () =>
      deadlines.bound(60_000, (signal) => {
        signals.push(signal);
        signal.addEventListener("abort", () => {});
        return never();
      }),
    );
    const settled = Promise.allSettled(calls);
    clock.advance(59_000);
    expect(signals.some(({ aborted }) => aborted)).toBe(false);
    clock.advance(1_000);
    for (const call of await settled) {
      expect(call).toMatchObject({ reason: { code: "STORE_UNAVAILABLE", cause: expect.any(Error) } });
    }
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
    await deadlines.drained();
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });

  it("gives no call less than its time but for a hundredth", async () => {
    const settled: string[] = [];
    const call = (name: string, timeoutMs: number) =>
      deadlines.bound(timeoutMs, never).catch(() => void settled.push(name));
    const calls = [call("first", 60_000)];
    clock.advance(30_000);
    calls.push(call("second", 60_000), call("shorter", 50_000));
    clock.advance(30_000);
    await calls[0];
    expect(settled).toEqual(["first"]);
    clock.advance(20_000);
    await calls[2];
    expect(settled).toEqual(["first", "shorter"]);
    clock.advance(10_000);
    await calls[1];
    expect(settled).toEqual(["first", "shorter", "second"]);
  });

  it("lets those that are answered go, and refuses the others of the same moment", async () => {
    let answer: (value: string) => void = () => {};
    const answered = deadlines.bound(60_000, () => new Promise<string>((resolve) => (answer = resolve)));
    const failed = deadlines.bound(60_000, () => Promise.reject(new Error("READONLY")));
    const silent = deadlines.bound(60_000, never);
    answer("here");
    expect(await answered).toBe("here");
    await expect(failed).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", cause: { message: "READONLY" } });
    clock.advance(60_000);
    await expect(silent).rejects.toMatchObject({ message: expect.stringContaining("in time") });
  });

  it("is drained once nothing is under way", async () => {
    let answer: (value: string) => void = () => {};
    const answered = deadlines.bound(60_000, () => new Promise<string>((resolve) => (answer = resolve)));
    let drained = 0;
    const both = [deadlines.drained(), deadlines.drained()].map((end) => end.then(() => (drained += 1)));
    await new Promise((resolve) => setImmediate(resolve));
    expect(drained).toBe(0);
    answer("here");
    await Promise.all([answered, ...both]);
    expect(drained).toBe(2);
    await deadlines.drained();
  });
});
