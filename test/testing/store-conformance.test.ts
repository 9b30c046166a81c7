import { isEvenkeelError } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type ConformanceSubject, ManualClock, type StoreCapabilities, storeConformance } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { LedgerStore } from "../../src/store.ts";
import { KEYED_CAPABILITIES } from "../support/keyed-ledger.ts";
import { brokenLeases } from "./broken-leases.ts";
import { brokenLedgers } from "./broken-ledgers.ts";
import { brokenResources } from "./broken-resources.ts";
import { brokenStores } from "./broken-stores.ts";

interface Result {
  readonly name: string;
  readonly error?: unknown;
}

interface Case {
  readonly name: string;
  readonly skipped: boolean;
  readonly body: () => Promise<void>;
}

/** What the suite registers. */
function casesOf(create: () => Promise<ConformanceSubject>, capabilities?: StoreCapabilities): Case[] {
  const cases: Case[] = [];
  let group = "";
  const register = (skipped: boolean) => (name: string, body: () => Promise<void>) => {
    cases.push({ name: `${group}: ${name}`, skipped, body });
  };
  const runner = {
    describe(name: string, body: () => void) {
      group = name;
      body();
    },
    it: Object.assign(register(false), { skip: register(true) }),
  };
  storeConformance(runner, create, capabilities);
  return cases;
}

/** Runs what is not skipped and tells what came of each case. */
async function runSuite(cases: readonly Case[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const { name, body } of cases.filter(({ skipped }) => !skipped)) {
    try {
      await body();
      results.push({ name });
    } catch (error) {
      results.push({ name, error });
    }
  }
  return results;
}

async function subjectOf(make: (clock: ManualClock) => LedgerStore): Promise<ConformanceSubject> {
  const clock = new ManualClock();
  const store = make(clock);
  return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
}

const failures = (results: readonly Result[]): Result[] => results.filter(({ error }) => error !== undefined);

/** Runs the cases until one fails. */
async function expectFoundOut(cases: readonly Case[]): Promise<void> {
  for (const each of cases.filter(({ skipped }) => !skipped)) {
    const [failure] = failures(await runSuite([each]));
    // By an assertion of the suite or by what the store said, and not because the wrapper broke down.
    const { code } = (failure?.error ?? {}) as { code?: string };
    if (code === "ERR_ASSERTION" || isEvenkeelError(failure?.error)) return;
  }
  expect.fail("no case has failed");
}

describe("storeConformance", () => {
  const capabilities = { exactTime: true, watch: true, maxOutcomeBytes: 1_024 };
  const wrapped = (make: (clock: ManualClock) => LedgerStore) => casesOf(() => subjectOf(make), capabilities);

  it("passes the reference store, behind a wrapper as the broken ones are", async () => {
    const results = await runSuite(wrapped(brokenStores["changes nothing"] as (clock: ManualClock) => LedgerStore));
    expect(failures(results)).toEqual([]);
    expect(results.length).toBeGreaterThan(150);
    expect(new Set(results.map(({ name }) => name)).size).toBe(results.length);
  });

  const broken = Object.entries({ ...brokenStores, ...brokenLeases }).filter(([name]) => name !== "changes nothing");

  it.each(broken)("finds out a store that %s", async (_name, make) => {
    await expectFoundOut(wrapped(make));
  });

  const RESOURCES = /^(resources|desired state and epochs|heartbeats|lists of resources|changes|closing):/;

  it.each(Object.entries(brokenResources))("finds out a store whose resources side %s", async (_name, make) => {
    await expectFoundOut(wrapped(make).filter(({ name }) => RESOURCES.test(name)));
  });
});

describe("storeConformance with hooks", () => {
  const HOOKED = /^(watch|transactions|time bounds|corrupt records|migration|several store objects):/;
  const ledgerCases = (make: () => ConformanceSubject) => casesOf(async () => make(), KEYED_CAPABILITIES);
  const hooked = (make: () => ConformanceSubject) => ledgerCases(make).filter(({ name }) => HOOKED.test(name));

  it("passes a ledger that has them all, and skips nothing", async () => {
    const cases = ledgerCases(brokenLedgers["changes nothing"] as () => ConformanceSubject);
    expect(cases.filter(({ skipped }) => skipped)).toEqual([]);
    expect(failures(await runSuite(cases))).toEqual([]);
  });

  const broken = Object.entries(brokenLedgers).filter(([name]) => name !== "changes nothing");

  it.each(broken)("finds out a ledger that %s", async (_name, make) => {
    await expectFoundOut(hooked(make));
  });
});

describe("what storeConformance can't check", () => {
  const create = () => subjectOf((clock) => memoryStore({ clock }));

  it("is skipped by a name that says why", () => {
    const skipped = casesOf(create).filter((each) => each.skipped);
    expect(skipped.length).toBeGreaterThan(40);
    for (const { name } of skipped) expect(name).toMatch(/ \(skipped: capabilities\.[^)]*\)$/);
  });

  it("is left out where the runner can't skip", () => {
    const names: string[] = [];
    storeConformance({ describe: (_, body) => body(), it: (name: string) => names.push(name) }, create);
    expect(names).toEqual(expect.not.arrayContaining([expect.stringContaining("skipped")]));
    expect(names).toHaveLength(casesOf(create).filter(({ skipped }) => !skipped).length);
  });

  it("fails where the subject has a hook that the capabilities don't name", async () => {
    const reopen = async () => memoryStore();
    const cases = casesOf(async () => ({ ...(await create()), reopen }));
    const [failure, ...others] = failures(await runSuite(cases));
    expect(failure).toMatchObject({ name: expect.stringMatching(/^the subject: gives the hooks/) });
    expect(others).toEqual([]);
  });

  it("fails where the capabilities name a hook that the subject does not have", async () => {
    const [first] = await runSuite(
      casesOf(create, { hooks: ["reopen"] }).filter(({ name }) => name.startsWith("several")),
    );
    expect(first?.error).toMatchObject({ code: "ERR_ASSERTION", message: expect.stringContaining("reopen") });
  });
});
