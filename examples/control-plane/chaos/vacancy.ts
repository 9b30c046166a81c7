import { setTimeout as sleep } from "node:timers/promises";
import type { LedgerStore } from "evenkeel";
import { NoRun } from "./options.ts";
import { patiently } from "./patience.ts";
import { CALL, ELECTION } from "./snapshot.ts";

/** A lease that lasts longer than that is not one of a run that was broken off. */
const MOST_WAIT_MS = 5_000;

/**
 * Sees that no control plane runs on a ledger. The lease of one that was killed lapses soon; that of one that lives is renewed.
 * @throws NoRun
 */
export async function assertVacant({ leases }: LedgerStore, signal: AbortSignal): Promise<void> {
  const held = () => patiently(() => leases.get(ELECTION, CALL));
  const lease = await held();
  if (lease === undefined) return;
  if (lease.remainingMs <= MOST_WAIT_MS) {
    await sleep(lease.remainingMs + 100, undefined, { signal });
    if ((await held()) === undefined) return;
  }
  throw new NoRun(`--store: ${lease.holder} leads a control plane on this ledger; take one that nobody uses.`);
}
