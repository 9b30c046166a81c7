import { Bench, type ConformanceCases, type ConformanceSubject, type StoreCapabilities } from "./conformance/bench.ts";
import { claimCases } from "./conformance/claim-cases.ts";
import { closingCases } from "./conformance/closing-cases.ts";
import { completionCases } from "./conformance/completion-cases.ts";
import { expiryCases } from "./conformance/expiry-cases.ts";
import { fencingCases } from "./conformance/fencing-cases.ts";
import { leaseCases } from "./conformance/lease-cases.ts";
import { listCases } from "./conformance/list-cases.ts";
import { purgeCases } from "./conformance/purge-cases.ts";
import { releaseCases } from "./conformance/release-cases.ts";
import { renewalCases } from "./conformance/renewal-cases.ts";
import { stepCases } from "./conformance/step-cases.ts";
import { valueCases } from "./conformance/value-cases.ts";
import { watchCases } from "./conformance/watch-cases.ts";

export type { ConformanceSubject, StoreCapabilities } from "./conformance/bench.ts";

/** What the suite needs of a test runner: those of Vitest, `node:test`, Mocha and Jest fit. */
export interface ConformanceRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

const GROUPS: Readonly<Record<string, ConformanceCases>> = {
  claim: claimCases,
  fencing: fencingCases,
  renewal: renewalCases,
  completion: completionCases,
  release: releaseCases,
  steps: stepCases,
  expiry: expiryCases,
  purge: purgeCases,
  list: listCases,
  "values and keys": valueCases,
  watch: watchCases,
  leases: leaseCases,
  closing: closingCases,
};

/**
 * Holds a store to the contract of `ExecutionStore`, `LeaseStore` and `LedgerStore`, rule by rule. Whoever writes a store runs it; every
 * store of evenkeel does. Each case has a store of its own, and afterwards the invariants that hold in any order are
 * checked over all that the case did.
 *
 * Time is moved with `advance()` and by nothing else, and leases last ten minutes, so that a store with a real clock can
 * pass too.
 *
 * @param runner - where the cases are registered.
 * @param create - makes an empty store for one case.
 * @param capabilities - what the store can do beyond the contract, or leaves out. Defaults to the contract as it is.
 * @example
 * ```ts
 * import { describe, it } from "vitest";
 *
 * storeConformance({ describe, it }, async () => {
 *   const clock = new ManualClock();
 *   const store = memoryStore({ clock });
 *   return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
 * });
 * ```
 */
export function storeConformance(
  runner: ConformanceRunner,
  create: () => Promise<ConformanceSubject>,
  capabilities: StoreCapabilities = {},
): void {
  for (const [group, cases] of Object.entries(GROUPS)) {
    runner.describe(group, () => {
      for (const [name, holds] of Object.entries(cases)) {
        runner.it(name, async () => {
          const subject = await create();
          try {
            const bench = new Bench(subject, capabilities);
            await holds(bench);
            bench.invariants.assertHeld();
          } finally {
            await subject.dispose();
          }
        });
      }
    });
  }
}
