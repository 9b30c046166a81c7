import { ManualClock, storeConformance } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { LedgerStore } from "../../src/store.ts";
import { brokenStores } from "./broken-stores.ts";

interface Result {
  readonly name: string;
  readonly error?: unknown;
}

/** Runs the whole suite over a store and tells what came of each case. */
async function runSuite(make: (clock: ManualClock) => LedgerStore): Promise<Result[]> {
  const cases: { name: string; body: () => Promise<void> }[] = [];
  let group = "";
  const runner = {
    describe(name: string, body: () => void) {
      group = name;
      body();
    },
    it(name: string, body: () => Promise<void>) {
      cases.push({ name: `${group}: ${name}`, body });
    },
  };
  storeConformance(
    runner,
    async () => {
      const clock = new ManualClock();
      const store = make(clock);
      return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
    },
    { exactTime: true, maxOutcomeBytes: 1_024 },
  );
  const results: Result[] = [];
  for (const { name, body } of cases) {
    try {
      await body();
      results.push({ name });
    } catch (error) {
      results.push({ name, error });
    }
  }
  return results;
}

describe("storeConformance", () => {
  it("passes the reference store, behind a wrapper as the broken ones are", async () => {
    const results = await runSuite(brokenStores["changes nothing"] as (clock: ManualClock) => LedgerStore);
    expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(results.length).toBeGreaterThan(100);
    expect(new Set(results.map(({ name }) => name)).size).toBe(results.length);
  });

  const broken = Object.entries(brokenStores).filter(([name]) => name !== "changes nothing");

  it.each(broken)("finds out a store that %s", async (_name, make) => {
    const failed = (await runSuite(make)).filter(({ error }) => error !== undefined);
    expect(failed.length).toBeGreaterThan(0);
    // By an assertion of the suite, and not because the wrapper broke down.
    expect(failed.some(({ error }) => (error as { code?: string }).code === "ERR_ASSERTION")).toBe(true);
  });
});
