import { describe, expect, it, vi } from "vitest";
import {
  isNotFound,
  isRetryAfter,
  isTerminalError,
  NotFound,
  RetryAfter,
  TerminalError,
} from "../../src/resources/action-errors.ts";

describe("what a callback throws", () => {
  it("is known by what it is, a subclass too", () => {
    class QuotaExceeded extends TerminalError {}
    const answers = [
      new RetryAfter(5),
      new TerminalError("no"),
      new NotFound("gone"),
      new QuotaExceeded(),
      new Error(),
    ];
    expect(answers.map(isRetryAfter)).toEqual([true, false, false, false, false]);
    expect(answers.map(isTerminalError)).toEqual([false, true, false, true, false]);
    expect(answers.map(isNotFound)).toEqual([false, false, true, false, false]);
    expect([undefined, null, "NotFound", { name: "NotFound" }].some(isNotFound)).toBe(false);
  });

  it("is known also when another copy of the library made it", async () => {
    vi.resetModules();
    const copy = await import("../../src/resources/action-errors.ts");
    expect(copy.NotFound).not.toBe(NotFound);
    expect(isNotFound(new copy.NotFound())).toBe(true);
    expect(isTerminalError(new copy.TerminalError())).toBe(true);
    expect(isRetryAfter(new copy.RetryAfter(5))).toBe(true);
  });

  it("keeps its message and its cause", () => {
    const cause = new Error("below");
    expect(new TerminalError("no such region", { cause })).toMatchObject({
      name: "TerminalError",
      message: "no such region",
      cause,
    });
    expect(new NotFound("gone", { cause })).toMatchObject({ name: "NotFound", message: "gone", cause });
    expect(new RetryAfter(5, { cause })).toMatchObject({ name: "RetryAfter", afterMs: 5, cause });
  });

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("is refused when it is to be tried again after %s", (ms) => {
    expect(() => new RetryAfter(ms)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });
});
