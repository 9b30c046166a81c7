import type { Clock } from "../../src/clock.ts";
import type { LedgerStore, StoreCall } from "../../src/store.ts";
import type { DoctorLimits } from "./doctor-limits.ts";

/** A ledger that can be asked, whatever engine it is in. */
export interface LedgerSubject {
  readonly store: LedgerStore;
  /** One store operation, repeated within its time. */
  ask<T>(send: (call: StoreCall) => Promise<T>): Promise<T>;
  readonly clock: Clock;
  readonly limits: DoctorLimits;
  readonly signal?: AbortSignal | undefined;
}
