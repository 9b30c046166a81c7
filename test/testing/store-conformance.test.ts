import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isEvenkeelError } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type ConformanceSubject, ManualClock, type StoreCapabilities, storeConformance } from "evenkeel/testing";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import type { LedgerStore } from "../../src/store.ts";
import { KEYED_CAPABILITIES } from "../support/keyed-ledger.ts";
import { brokenFences } from "./broken-fences.ts";
import { brokenLeases } from "./broken-leases.ts";
import { brokenLedgers } from "./broken-ledgers.ts";
import { brokenRecency } from "./broken-recency.ts";
import { brokenResources } from "./broken-resources.ts";
import { brokenSeizures } from "./broken-seizures.ts";
import { brokenStores } from "./broken-stores.ts";
import { copyingStores, lateStores } from "./late-stores.ts";

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

/** The `assert.ok()` of a source without a message of their own. */
function bareAssertions(text: string, file: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.arguments.length < 2 && /^assert(\.ok)?$/.test(node.expression.getText())) {
      found.push(`${file}: ${node.getText()}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return found;
}

/** The groups whose cases wait by the machine's clock. */
const WAITING = /^(watch|time bounds):/;

/** Runs the cases until one fails, those that wait after all others. */
async function expectFoundOut(cases: readonly Case[]): Promise<void> {
  const run = cases.filter(({ skipped }) => !skipped);
  const last = run.filter(({ name }) => WAITING.test(name));
  for (const each of [...run.filter((one) => !last.includes(one)), ...last]) {
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

  it.concurrent.each(broken)("finds out a store that %s", async (_name, make) => {
    await expectFoundOut(wrapped(make));
  });

  const of = (groups: RegExp, make: (clock: ManualClock) => LedgerStore) =>
    wrapped(make).filter(({ name }) => groups.test(name));
  const { "changes nothing": seizesRightly, ...seizesWrongly } = brokenSeizures;

  it("passes a store whose seizures are remembered, as those of the broken ones are", async () => {
    const results = await runSuite(of(/^seizure:/, seizesRightly as (clock: ManualClock) => LedgerStore));
    expect(failures(results)).toEqual([]);
    expect(results.length).toBeGreaterThan(15);
  });

  it.concurrent.each(Object.entries(seizesWrongly))("finds out a store whose seizures %s", async (_name, make) => {
    await expectFoundOut(of(/^seizure:/, make));
  });

  it.concurrent.each(Object.entries(brokenRecency))("finds out a store that %s", async (_name, make) => {
    await expectFoundOut(of(/^(recency|purge):/, make));
  });

  const RESOURCES = /^(resources|desired state and epochs|heartbeats|lists of resources|changes|closing):/;

  it.concurrent.each(Object.entries(brokenResources))(
    "finds out a store whose resources side %s",
    async (_name, make) => {
      await expectFoundOut(wrapped(make).filter(({ name }) => RESOURCES.test(name)));
    },
  );

  const fences = (make: (clock: ManualClock) => LedgerStore) =>
    wrapped(make).filter(({ name }) => name.startsWith("fences of parts of a group:"));
  const { "changes nothing": fencesRightly, ...fencesWrongly } = brokenFences;

  it("passes a store whose fences are kept beside it, as those of the broken ones are", async () => {
    const make = fencesRightly as (clock: ManualClock) => LedgerStore;
    expect(failures(await runSuite([...fences(make), ...aboutRequests(make)]))).toEqual([]);
  });

  it.each(Object.entries(fencesWrongly))("finds out a store whose fences side %s", async (_name, make) => {
    await expectFoundOut(fences(make));
  });

  const aboutRequests = (make: (clock: ManualClock) => LedgerStore) =>
    wrapped(make).filter(({ name }) => name.startsWith("requests:"));

  it.each(lateStores)("finds out a store whose %s reads its request after the call", async (_name, make) => {
    await expectFoundOut(aboutRequests(make));
  });

  it.each(copyingStores)("passes a store whose %s take copies of their requests in time", async (_name, make) => {
    expect(failures(await runSuite(aboutRequests(make)))).toEqual([]);
  });

  it("says whose answer is wrong, and what was seen", async () => {
    const make = (clock: ManualClock): LedgerStore => {
      const store = memoryStore({ clock });
      const list: LedgerStore["executions"]["list"] = async (request, call) => {
        const views = await store.executions.list(request, call);
        for (const view of views) if (view.status === "completed") view.outcome.bytes[1] = 0;
        return views;
      };
      return { ...store, executions: { ...store.executions, list } };
    };
    const [failure] = failures(
      await runSuite(wrapped(make).filter(({ name }) => name.includes("what readers do to their bytes"))),
    );
    const message = "list answers the bytes that were stored (4 bytes for 4, different from byte 1 on)";
    expect(failure?.error).toMatchObject({ code: "ERR_ASSERTION", message });
  });

  it("explains every failure: none of its assertions says only that false is not true", () => {
    const folder = fileURLToPath(new URL("../../src/testing/conformance", import.meta.url));
    const bare = readdirSync(folder).flatMap((file) => bareAssertions(readFileSync(`${folder}/${file}`, "utf8"), file));
    expect(bare).toEqual([]);
    expect(bareAssertions('assert.ok(a > 1);\nassert.ok(a > 1, "a is above 1");', "x.ts")).toEqual([
      "x.ts: assert.ok(a > 1)",
    ]);
  });
});

describe("storeConformance with hooks", () => {
  const HOOKED =
    /^(watch|transactions|time bounds|corrupt records|migration|several store objects|fences of parts of a group):/;
  const ledgerCases = (make: () => ConformanceSubject) => casesOf(async () => make(), KEYED_CAPABILITIES);
  const hooked = (make: () => ConformanceSubject) => ledgerCases(make).filter(({ name }) => HOOKED.test(name));

  it("passes a ledger that has them all, and skips nothing", async () => {
    const cases = ledgerCases(brokenLedgers["changes nothing"] as () => ConformanceSubject);
    expect(cases.filter(({ skipped }) => skipped)).toEqual([]);
    expect(failures(await runSuite(cases))).toEqual([]);
  });

  const broken = Object.entries(brokenLedgers).filter(([name]) => name !== "changes nothing");

  it.concurrent.each(broken)("finds out a ledger that %s", async (_name, make) => {
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

  it("is named by one case of each group where the runner can't skip", async () => {
    const names: string[] = [];
    const bodies: (() => Promise<void>)[] = [];
    const it = (name: string, body: () => Promise<void>) => {
      names.push(name);
      if (name.startsWith("checks nothing of: ")) bodies.push(body);
    };
    storeConformance({ describe: (_, body) => body(), it }, create);
    const cases = casesOf(create);
    const skipped = cases.filter((each) => each.skipped).map(({ name }) => name.replace(/^[^:]*: /, ""));
    const told = names.filter((name) => name.startsWith("checks nothing of: "));
    for (const name of skipped) expect(told.filter((one) => one.includes(name))).toHaveLength(1);
    const groups = new Set(cases.filter((each) => each.skipped).map(({ name }) => name.split(":")[0]));
    expect(told).toHaveLength(groups.size);
    expect(names).toHaveLength(cases.length - skipped.length + told.length);
    await Promise.all(bodies.map((body) => body()));
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

describe("what storeConformance is called with", () => {
  const create = () => subjectOf((clock) => memoryStore({ clock }));
  const runner = { describe: () => {}, it: () => {} };
  const call = (...given: unknown[]) => (storeConformance as (...given: unknown[]) => void)(...given);

  it.each([
    ["no runner", [undefined, create], "the runner must have the functions describe and it"],
    ["a runner without it", [{ describe: () => {} }, create], "the runner must have the functions describe and it"],
    ["an it.skip that is none", [{ ...runner, it: Object.assign(() => {}, { skip: 1 }) }, create], "it.skip must be"],
    ["no create", [runner], "create must be a function"],
    ["no object of capabilities", [runner, create, null], "options must be an object"],
    ["a misspelt capability", [runner, create, { exactime: true }], "exactime is not an option"],
    ["a flag that is a text", [runner, create, { exactTime: "yes" }], "exactTime must be true or false"],
    ["an unknown hook", [runner, create, { hooks: ["nope"] }], 'hooks must be a list of "reopen", "transact", "stall"'],
    ["one hook outside of a list", [runner, create, { hooks: "reopen" }], "hooks must be a list"],
    ["corrupt among the hooks", [runner, create, { hooks: ["corrupt"] }], "hooks must be a list"],
    ["an unknown kind of watch", [runner, create, { watch: "mine" }], 'watch must be true or false or "shared"'],
    ["an unknown part", [runner, create, { damages: { lease: ["truncated"] } }], "damages must be an object"],
    ["an unknown damage", [runner, create, { damages: { leases: ["burnt"] } }], "damages must be an object"],
    ["no size at all", [runner, create, { maxOutcomeBytes: 0 }], "maxOutcomeBytes must be a positive whole number"],
  ])("is refused where it is %s", (_what, given, says) => {
    const refusal = { code: "INVALID_OPTIONS", message: expect.stringContaining(`storeConformance: ${says}`) };
    expect(() => call(...given)).toThrow(expect.objectContaining(refusal));
  });

  it("may leave a capability undefined, which is its default", async () => {
    const given = { purge: undefined, hooks: undefined, watch: undefined } as unknown as StoreCapabilities;
    expect(casesOf(create, given).map(({ name }) => name)).toEqual(casesOf(create).map(({ name }) => name));
  });
});
