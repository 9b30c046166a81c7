import { RetryAfter, TerminalError } from "evenkeel";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { Retries, recordRetry } from "../../src/reconcile/retries.ts";
import type { Step, StepOutcome } from "../../src/reconcile/step.ts";

const NOW = 1_000_000;
const KEY = "create/a";
const at = (nowMs: number, generation = 1) => ({ nowMs, generation });

function retries(): Retries {
  return new Retries(seededRandom(1));
}

describe("what failed", () => {
  it("waits for a time that grows, and is forgotten with a success", () => {
    const kept = retries();
    const waits = Array.from({ length: 12 }, () => {
      kept.failed(KEY, "a", new Error("no"), NOW, { generation: 1 });
      return (kept.retryOf(KEY, at(NOW)) as number) - NOW;
    });
    waits.forEach((wait, failures) => {
      expect(wait).toBeGreaterThanOrEqual(0);
      expect(wait).toBeLessThanOrEqual(Math.min(300_000, 100 * 2 ** failures));
    });
    expect(Math.max(...waits)).toBeGreaterThan(10_000);
    expect(kept.failuresOf(KEY)).toBe(12);
    kept.succeeded(KEY);
    expect(kept.retryOf(KEY, at(NOW))).toBeUndefined();
    expect(kept.failuresOf(KEY)).toBe(0);
    expect(kept.size).toBe(0);
  });

  it("waits as long as it asked for itself", () => {
    const kept = retries();
    kept.failed(KEY, "a", new RetryAfter(7_000), NOW, { generation: 1 });
    expect(kept.retryOf(KEY, at(NOW))).toBe(NOW + 7_000);
    kept.wake("a");
    kept.wake();
    expect(kept.retryOf(KEY, at(NOW))).toBe(NOW + 7_000);
  });

  it("for good waits for another generation, or a wake", () => {
    const kept = retries();
    kept.failed(KEY, "a", new TerminalError(), NOW, { generation: 1 });
    expect(kept.retryOf(KEY, at(NOW + 1e9, 1))).toBe("blocked");
    expect(kept.retryOf(KEY, at(NOW, 2))).toBeUndefined();
    kept.wake("b");
    expect(kept.retryOf(KEY, at(NOW, 1))).toBe("blocked");
    kept.wake();
    expect(kept.retryOf(KEY, at(NOW, 1))).toBeLessThanOrEqual(NOW);
  });

  it("may be tried at once when its id is woken, and counts as having failed still", () => {
    const kept = retries();
    for (let time = 0; time < 10; time += 1) kept.failed(KEY, "a", new Error("no"), NOW, { generation: 1 });
    kept.wake();
    expect(kept.retryOf(KEY, at(NOW))).toBeGreaterThan(NOW);
    kept.wake("a");
    expect(kept.retryOf(KEY, at(NOW))).toBeLessThanOrEqual(NOW);
    expect(kept.failuresOf(KEY)).toBe(10);
  });

  it("waits no longer than it had to when the clock goes back", () => {
    const kept = retries();
    kept.failed(KEY, "a", new RetryAfter(7_000), NOW, { generation: 1 });
    const back = NOW - 3_600_000;
    expect(kept.retryOf(KEY, at(back))).toBe(back + 7_000);
    // And does not wait anew each time that it is asked about.
    expect(kept.retryOf(KEY, at(back + 5_000))).toBe(back + 7_000);
  });

  it("is forgotten with its slot, the count of its failures too", () => {
    const kept = retries();
    for (const id of ["a", "b", "c"]) kept.failed(`create/${id}`, id, new Error("no"), NOW, { generation: 1 });
    kept.accepted("terminate/1//a", "a", NOW, 30_000);
    kept.wake("a");
    kept.forgetExcept((id) => id === "b");
    expect(kept.size).toBe(1);
    expect(kept.failuresOf("create/b")).toBe(1);
    expect(kept.failuresOf("create/a")).toBe(0);
    expect(kept.acceptedAt("terminate/1//a", NOW)).toBeUndefined();
  });
});

describe("creations", () => {
  it("wait together after a batch that failed, for 30 s at most, and not for a clock that went back", () => {
    const kept = retries();
    expect(kept.creationAt(NOW)).toBeUndefined();
    for (let batch = 0; batch < 30; batch += 1) {
      kept.creationsFailed(NOW);
      expect(kept.creationAt(NOW)).toBeLessThanOrEqual(NOW + 30_000);
    }
    expect(kept.creationAt(NOW - 3_600_000)).toBeLessThanOrEqual(NOW - 3_600_000 + 30_000);
    kept.creationsAnew();
    expect(kept.creationAt(NOW)).toBeUndefined();
  });

  it("wait no longer than the one that said when to come again", () => {
    const kept = retries();
    for (let batch = 0; batch < 20; batch += 1) kept.creationsFailed(NOW, 5);
    expect(kept.creationAt(NOW)).toBeLessThanOrEqual(NOW + 5);
  });

  it("do not wait when one of those that failed is woken", () => {
    const kept = retries();
    kept.failed(KEY, "a", new Error("no"), NOW, { generation: 1 });
    for (let batch = 0; batch < 20; batch += 1) kept.creationsFailed(NOW);
    kept.wake("b");
    expect(kept.creationAt(NOW)).toBeDefined();
    kept.wake("a");
    expect(kept.creationAt(NOW)).toBeUndefined();
  });
});

describe("recordRetry", () => {
  const row = { id: "a", incarnation: 1, state: "TERMINATING" } as never;
  const terminate = { type: "terminate", id: "a", incarnation: 1, reason: "Surplus", row, again: false } as Step;
  const terms = { nowMs: NOW, generation: 1, terminateGraceMs: 30_000 };
  const record = (kept: Retries, outcome: Partial<StepOutcome> & Pick<StepOutcome, "result">) =>
    recordRetry(kept, { step: terminate, ...outcome }, terms);

  it("takes a termination that is not seen to be carried out for accepted, for a grace period", () => {
    const kept = retries();
    record(kept, { result: "done", row });
    expect(kept.acceptedAt("terminate/1//a", NOW + 1)).toBe(NOW);
    expect(kept.retryOf("terminate/1//a", at(NOW))).toBe(NOW + 30_000);
    record(kept, { result: "done", row });
    expect(kept.acceptedAt("terminate/1//a", NOW + 1)).toBe(NOW);
  });

  it("forgets it when the row says TERMINATED, or it was dropped", () => {
    const kept = retries();
    record(kept, { result: "done", row });
    record(kept, { result: "done", row: { ...(row as object), state: "TERMINATED" } as never });
    expect(kept.size).toBe(0);
    record(kept, { result: "done", row });
    record(kept, { step: { type: "drop", id: "a", incarnation: 1, reason: "Surplus", row }, result: "done" });
    expect(kept.size).toBe(0);
  });

  it.each(["lost", "notBegun", "fenced"] as const)("counts %s for nothing", (result) => {
    const kept = retries();
    record(kept, { result });
    expect(kept.size).toBe(0);
  });

  it("takes an acceptance of the future for one of now", () => {
    const kept = retries();
    record(kept, { result: "done", row });
    expect(kept.acceptedAt("terminate/1//a", NOW - 500)).toBe(NOW - 500);
    expect(kept.acceptedAt("terminate/1//a", NOW)).toBe(NOW - 500);
  });
});
