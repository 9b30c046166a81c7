import { isEvenkeelError } from "../../src/errors.ts";
import type { LedgerStore, StoreCall } from "../../src/store.ts";
import { storeOperation } from "../../src/store-operation.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardProblem } from "./dashboard-update.ts";

/** Asks the ledger, for as long as the dashboard is open. */
export type StoreReader = <T>(send: (store: LedgerStore, call: StoreCall) => Promise<T>) => Promise<T>;

/** Each operation takes up to `storeTimeoutMs`. It throws what the store did, and what ended `signal`. */
export function storeReader(settings: DashboardSettings, signal: AbortSignal): StoreReader {
  const { store, clock, random, storeTimeoutMs } = settings;
  return (send) =>
    storeOperation({ clock, random, budgetMs: storeTimeoutMs, signal, send: (call) => send(store, call) });
}

/** How a page is told of what failed: by its code, since messages may be about the store. */
export function problemOf(of: DashboardProblem["of"], error: unknown, group?: string): DashboardProblem {
  const code = isEvenkeelError(error) ? error.code : "STORE_UNAVAILABLE";
  return { of, ...(group === undefined ? {} : { group }), code };
}
