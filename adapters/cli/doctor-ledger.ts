import { type Examination, examine, together } from "./doctor-check.ts";
import { EXECUTION_CHECKS } from "./doctor-executions.ts";
import { examineGroups } from "./doctor-groups.ts";
import { LEASE_CHECKS } from "./doctor-leases.ts";
import type { LedgerSubject } from "./doctor-ledger-subject.ts";

/** Looks at the records of a ledger, whatever engine it is in. Changes nothing. */
export async function examineLedger(subject: LedgerSubject): Promise<Examination> {
  const { signal } = subject;
  return together([
    await examine(subject, EXECUTION_CHECKS, signal),
    await examineGroups(subject),
    await examine(subject, LEASE_CHECKS, signal),
  ]);
}
