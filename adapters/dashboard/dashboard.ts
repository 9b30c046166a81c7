import type { LedgerStore } from "../../src/store.ts";

export interface DashboardOptions {
  readonly store: LedgerStore;
}
