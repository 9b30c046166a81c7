import { acceptSuite } from "./conformance/accept-suite.ts";
import { Bench, type Conditional, type ConformanceCase, type ConformanceCases, within } from "./conformance/bench.ts";
import { changeCases } from "./conformance/change-cases.ts";
import { claimCases } from "./conformance/claim-cases.ts";
import { closingCases } from "./conformance/closing-cases.ts";
import { completionCases } from "./conformance/completion-cases.ts";
import { corruptCases } from "./conformance/corrupt-cases.ts";
import { desiredCases } from "./conformance/desired-cases.ts";
import { expiryCases } from "./conformance/expiry-cases.ts";
import { fenceCases } from "./conformance/fence-cases.ts";
import { fencingCases } from "./conformance/fencing-cases.ts";
import { heartbeatCases } from "./conformance/heartbeat-cases.ts";
import { leaseCases } from "./conformance/lease-cases.ts";
import { listCases } from "./conformance/list-cases.ts";
import { migrationCases } from "./conformance/migration-cases.ts";
import { purgeCases } from "./conformance/purge-cases.ts";
import { recentCases } from "./conformance/recent-cases.ts";
import { releaseCases } from "./conformance/release-cases.ts";
import { renewalCases } from "./conformance/renewal-cases.ts";
import { requestCases } from "./conformance/request-cases.ts";
import { resourceCases } from "./conformance/resource-cases.ts";
import { resourceListCases } from "./conformance/resource-list-cases.ts";
import { seizeCases } from "./conformance/seize-cases.ts";
import { sharingCases } from "./conformance/sharing-cases.ts";
import { stepCases } from "./conformance/step-cases.ts";
import { type ConformanceSubject, type StoreCapabilities, withDefaults } from "./conformance/subject.ts";
import { subjectCases } from "./conformance/subject-cases.ts";
import { timeBoundCases } from "./conformance/time-bound-cases.ts";
import { transactionCases } from "./conformance/transaction-cases.ts";
import { valueCases } from "./conformance/value-cases.ts";
import { watchCases } from "./conformance/watch-cases.ts";

export type {
  ConformanceHook,
  ConformanceSubject,
  DamagedRecord,
  RecordDamage,
  RecordName,
  StoreCapabilities,
} from "./conformance/subject.ts";

/** What the suite needs of a test runner: those of Vitest, `node:test`, Mocha and Jest fit. */
export interface ConformanceRunner {
  describe(name: string, body: () => void): unknown;
  it: {
    (name: string, body: () => Promise<void>): unknown;
    /**
     * Cases that a store can't be held to are registered with it, and say why. Where the runner has none, each group has one
     * case that passes, and is named after all that it stands for.
     */
    readonly skip?: (name: string, body: () => Promise<void>) => unknown;
  };
}

/** By the machine's clock. Runners have a bound of their own, but not all of them have one by default. */
const LONGEST_CASE_MS = 120_000;

const GROUPS: Readonly<Record<string, ConformanceCases>> = {
  "the subject": subjectCases,
  claim: claimCases,
  fencing: fencingCases,
  renewal: renewalCases,
  completion: completionCases,
  release: releaseCases,
  seizure: seizeCases,
  steps: stepCases,
  expiry: expiryCases,
  purge: purgeCases,
  list: listCases,
  recency: recentCases,
  "values and keys": valueCases,
  requests: requestCases,
  watch: watchCases,
  transactions: transactionCases,
  "time bounds": timeBoundCases,
  "corrupt records": corruptCases,
  migration: migrationCases,
  "several store objects": sharingCases,
  resources: resourceCases,
  "desired state and epochs": desiredCases,
  "fences of parts of a group": fenceCases,
  heartbeats: heartbeatCases,
  "lists of resources": resourceListCases,
  changes: changeCases,
  leases: leaseCases,
  closing: closingCases,
};

/**
 * Holds a store to the contract of `ExecutionStore`, `ResourceStore`, `LeaseStore` and `LedgerStore`, rule by rule. Whoever writes a
 * store runs it; every store of evenkeel does. Each case has a ledger of its own, and afterwards the invariants that hold in
 * any order are checked over all that the case did.
 *
 * Time is moved with `advance()` and by nothing else, and leases last ten minutes, so that a store with a real clock can
 * pass too. What needs a hook that the subject does not have is skipped by name, see {@link StoreCapabilities}; nothing is left
 * out without a trace.
 *
 * @param runner - where the cases are registered.
 * @param create - makes an empty store for one case.
 * @param capabilities - what the store can do beyond the contract, or leaves out. Defaults to the contract as it is.
 * @throws EvenkeelError `INVALID_OPTIONS`, before anything is registered.
 * @example
 * ```ts
 * import { describe, it } from "vitest";
 *
 * const create = async () => {
 *   const clock = new ManualClock();
 *   const store = memoryStore({ clock });
 *   return { store, advance: (ms: number) => clock.advance(ms), dispose: () => store.close() };
 * };
 * storeConformance({ describe, it }, create, { exactTime: true });
 * ```
 */
export function storeConformance(
  runner: ConformanceRunner,
  create: () => Promise<ConformanceSubject>,
  capabilities: StoreCapabilities = {},
): void {
  acceptSuite(runner, create, capabilities);
  const all = withDefaults(capabilities);
  for (const [group, cases] of Object.entries(GROUPS)) {
    runner.describe(group, () => {
      const untold: string[] = [];
      for (const [name, each] of Object.entries(cases)) {
        const { unless, holds } = asConditional(each);
        const body = (): Promise<void> => within(LONGEST_CASE_MS, runCase(holds, create, all), "The case is over");
        const reason = unless(all);
        const skipped = `${name} (skipped: ${reason})`;
        if (reason === undefined) runner.it(name, body);
        else if (runner.it.skip !== undefined) runner.it.skip(skipped, body);
        else untold.push(skipped);
      }
      if (untold.length > 0) runner.it(`checks nothing of: ${untold.join("; ")}`, async () => {});
    });
  }
}

async function runCase(
  holds: ConformanceCase,
  create: () => Promise<ConformanceSubject>,
  capabilities: StoreCapabilities,
): Promise<void> {
  const subject = await create();
  try {
    const bench = new Bench(subject, capabilities);
    try {
      await holds(bench);
      await bench.assertInvariants();
    } finally {
      await bench.close();
    }
  } finally {
    await subject.dispose();
  }
}

function asConditional(each: ConformanceCase | Conditional): Conditional {
  return typeof each === "function" ? { unless: () => undefined, holds: each } : each;
}
