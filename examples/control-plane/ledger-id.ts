import { randomUUID } from "node:crypto";
import { type LedgerStore, withIdempotency } from "evenkeel";

const TEN_YEARS_MS = 10 * 365 * 86_400_000;

/**
 * What tells this ledger from all others, whatever URL it is reached by. It is made once: all copies, also those that ask at the same
 * time, get the same.
 */
export async function ledgerIdOf(store: LedgerStore): Promise<string> {
  const make = withIdempotency(() => randomUUID() as string, {
    store,
    operation: "control-plane/ledger-id",
    key: () => "only",
    retentionMs: TEN_YEARS_MS,
    leaseMs: 5_000,
    inFlight: "wait",
    // Nobody takes workers for its own under an id that the ledger may not have.
    onCompleteFailure: "throw",
  });
  return make(undefined);
}
