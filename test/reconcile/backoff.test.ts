import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { Backoff } from "../../src/reconcile/backoff.ts";

/** Chance that always falls on one side. */
function always(float: number) {
  return { bytes: (length: number) => new Uint8Array(length), float: () => float };
}

const ALMOST_ONE = 1 - Number.EPSILON / 2;

describe("Backoff", () => {
  it("doubles the bound with each failure, from 100 ms to 5 minutes", () => {
    const backoff = new Backoff<string>({ random: always(ALMOST_ONE) });
    const delays = Array.from({ length: 14 }, () => Math.round(backoff.next("a")));
    expect(delays.slice(0, 12)).toEqual(Array.from({ length: 12 }, (_, n) => 100 * 2 ** n));
    expect(delays.slice(12)).toEqual([300_000, 300_000]);
  });

  it("spreads the delays over all from 0 to the bound", () => {
    const backoff = new Backoff<number>({ random: seededRandom(7) });
    const delays = Array.from({ length: 10_000 }, (_, key) => backoff.next(key));
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const within = delays.filter((delay) => delay >= tenth * 10 && delay < (tenth + 1) * 10).length;
      expect(within).toBeGreaterThan(850);
      expect(within).toBeLessThan(1_150);
    }
  });

  it("may answer 0, and never the bound itself", () => {
    expect(new Backoff<string>({ random: always(0) }).next("a")).toBe(0);
    expect(new Backoff<string>({ random: always(ALMOST_ONE) }).next("a")).toBeLessThan(100);
  });

  it("stays at the maximum after 5,000 failures, where 2^n is past all numbers", () => {
    const backoff = new Backoff<string>({ random: always(0.5) });
    for (let failure = 0; failure < 5_000; failure += 1) backoff.next("a");
    expect(backoff.next("a")).toBe(150_000);
    expect(backoff.retries("a")).toBe(5_001);
  });

  it("reaches the greatest maximum, and stays a number, from any base", () => {
    const maxDelayMs = Number.MAX_SAFE_INTEGER;
    for (const baseDelayMs of [1, maxDelayMs]) {
      const backoff = new Backoff<string>({ baseDelayMs, maxDelayMs, random: always(0.5) });
      for (let failure = 0; failure < 2_000; failure += 1) backoff.next("a");
      expect(backoff.next("a")).toBe(maxDelayMs / 2);
    }
  });

  it("counts each key by itself, until it is forgotten", () => {
    const backoff = new Backoff<string>({ random: always(0.5) });
    expect([backoff.next("a"), backoff.next("a"), backoff.next("b"), backoff.next("a")]).toEqual([50, 100, 50, 200]);
    backoff.forget("a");
    expect(backoff.retries("a")).toBe(0);
    expect(backoff.retries("b")).toBe(1);
    expect(backoff.next("a")).toBe(50);
  });

  it("compares keys as a Map does", () => {
    const backoff = new Backoff<unknown>();
    for (const key of [Number.NaN, Number.NaN, 0, -0, {}, {}]) backoff.next(key);
    expect(backoff.retries(Number.NaN)).toBe(2);
    expect(backoff.retries(0)).toBe(2);
    expect(backoff.retries({})).toBe(0);
  });

  it("takes a maximum under the default base as both", () => {
    const backoff = new Backoff<string>({ maxDelayMs: 40, random: always(0.5) });
    expect([backoff.next("a"), backoff.next("a")]).toEqual([20, 20]);
  });

  it.each([
    [{ baseDelayMs: 0 }, "baseDelayMs"],
    [{ baseDelayMs: Number.NaN }, "baseDelayMs"],
    [{ maxDelayMs: -1 }, "maxDelayMs"],
    [{ maxDelayMs: Number.POSITIVE_INFINITY }, "maxDelayMs"],
    [{ baseDelayMs: 200, maxDelayMs: 100 }, "baseDelayMs"],
    [{ random: Math.random }, "random"],
    [{ jitter: "full" }, "jitter"],
  ])("refuses %o and names what is wrong", (options, name) => {
    const make = () => new Backoff(options as object);
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    expect(make).toThrow(name);
  });
});
