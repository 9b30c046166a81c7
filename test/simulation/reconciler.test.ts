import { describe, expect, it } from "vitest";
import { simulateReconcilers } from "./reconciler-run.ts";

const SEEDS = Array.from({ length: Number(process.env["SEEDS"] ?? 200) }, (_, seed) => seed);

describe("reconcilers that die, stand still and lose messages", () => {
  it.each(SEEDS)("keep every invariant, seed %i", async (seed) => {
    const { violations, timers } = await simulateReconcilers(seed);
    expect(violations).toEqual([]);
    expect(timers, "I20: nothing is left").toBe(0);
  });
});
