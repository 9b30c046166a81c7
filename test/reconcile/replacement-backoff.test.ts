import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EarlierIncarnation, nextReplacementAt } from "../../src/reconcile/replacement-backoff.ts";

const FAILED_AT = 10_000_000;
const MINUTE_MS = 60_000;

const shortLived: EarlierIncarnation = { provisionedAt: 1_000, endedAt: 31_000, unexpected: true };
const stable: EarlierIncarnation = { provisionedAt: 1_000, endedAt: 1_000 + 10 * MINUTE_MS, unexpected: true };
const scaledDown: EarlierIncarnation = { provisionedAt: 1_000, endedAt: 31_000, unexpected: false };
const neverUp: EarlierIncarnation = { endedAt: 9_000_000, unexpected: true };

function delayMs(previous: EarlierIncarnation[], failed: { id?: string; provisionedAt?: number } = {}): number {
  const { id = "web-1", provisionedAt = FAILED_AT - 30_000 } = failed;
  const incarnation = previous.length + 1;
  return nextReplacementAt({ id, incarnation, provisionedAt, failedAt: FAILED_AT, previous }) - FAILED_AT;
}

describe("nextReplacementAt", () => {
  it("is at once, then after 10 s, 20 s, … to 5 min, and up to 20 % later", () => {
    const bases = [0, 10, 20, 40, 80, 160, 300, 300, 300].map((seconds) => seconds * 1_000);
    for (const [failures, base] of bases.entries()) {
      const delay = delayMs(Array.from({ length: failures }, () => shortLived));
      expect(delay).toBeGreaterThanOrEqual(base);
      expect(delay).toBeLessThanOrEqual(base * 1.2);
    }
    expect(delayMs(Array.from({ length: 5_000 }, () => shortLived))).toBeLessThanOrEqual(360_000);
  });

  it("is at once for one that lived 10 minutes, whatever was before", () => {
    const previous = [shortLived, shortLived, shortLived];
    expect(delayMs(previous, { provisionedAt: FAILED_AT - 10 * MINUTE_MS })).toBe(0);
    expect(delayMs(previous, { provisionedAt: FAILED_AT - 10 * MINUTE_MS + 1 })).toBeGreaterThanOrEqual(40_000);
  });

  it("counts back to the newest that was meant to end", () => {
    expect(delayMs([scaledDown, shortLived, shortLived])).toBe(0);
    const delay = delayMs([shortLived, scaledDown, shortLived, shortLived]);
    expect(delay).toBeGreaterThanOrEqual(10_000);
    expect(delay).toBeLessThanOrEqual(12_000);
  });

  it("counts back to the newest that was stable, whose replacement was the one at once", () => {
    for (const [before, base] of [[], [shortLived], [shortLived, shortLived]].map((each, n) => [each, n] as const)) {
      const delay = delayMs([...before, stable, shortLived, shortLived]);
      expect(delay).toBeGreaterThanOrEqual(10_000 * 2 ** base);
      expect(delay).toBeLessThanOrEqual(12_000 * 2 ** base);
    }
  });

  it("takes one that was never provisioned as one that did not live", () => {
    const delay = delayMs([neverUp, neverUp]);
    expect(delay).toBeGreaterThanOrEqual(20_000);
    expect(delay).toBeLessThanOrEqual(24_000);
    expect(nextReplacementAt({ id: "a", incarnation: 2, failedAt: FAILED_AT, previous: [neverUp] })).toBeGreaterThan(
      FAILED_AT,
    );
  });

  it("takes a life that a clock set back made negative as a short one", () => {
    const odd = { provisionedAt: 50_000, endedAt: 40_000, unexpected: true };
    expect(delayMs([odd])).toBeGreaterThanOrEqual(10_000);
    expect(delayMs([odd], { provisionedAt: FAILED_AT + 5 })).toBeGreaterThanOrEqual(10_000);
  });

  it("is never shorter than its base and never over 6 min, and the same for the same inputs", () => {
    const incarnations = fc.array(fc.record({ provisionedAt: fc.nat(), endedAt: fc.nat(), unexpected: fc.boolean() }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1 }), incarnations, (id, incarnation, previous) => {
        const failed = { id, incarnation, provisionedAt: FAILED_AT - 1, failedAt: FAILED_AT, previous };
        const at = nextReplacementAt(failed);
        expect(nextReplacementAt({ ...failed, previous: [...previous] })).toBe(at);
        expect(Number.isInteger(at)).toBe(true);
        expect(at).toBeGreaterThanOrEqual(FAILED_AT);
        expect(at).toBeLessThanOrEqual(FAILED_AT + 360_000);
      }),
    );
  });

  it("spreads slots that failed together over the whole jitter", () => {
    const delays = Array.from({ length: 200 }, (_, i) => delayMs([shortLived], { id: `web-${i}` }));
    expect(Math.min(...delays)).toBeLessThan(10_200);
    expect(Math.max(...delays)).toBeGreaterThan(11_800);
    expect(new Set(delays).size).toBeGreaterThan(150);
  });
});
