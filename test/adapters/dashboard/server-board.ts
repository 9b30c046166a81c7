import { afterEach } from "vitest";
import { type Dashboard, dashboard } from "../../../adapters/dashboard/dashboard.ts";
import type { DashboardOptions } from "../../../adapters/dashboard/dashboard-options.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { LedgerStore } from "../../../src/index.ts";
import { Served } from "./server-set-up.ts";

const ends: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Ends it after the test, what began last first. */
export function endLater(end: () => Promise<unknown> | unknown): void {
  ends.push(end);
}

/** A dashboard over a store in memory, or over another, behind a server of Node. */
export async function servedBoard(
  options: Partial<DashboardOptions> = {},
): Promise<{ readonly store: LedgerStore; readonly board: Dashboard; readonly server: Served }> {
  const store = options.store ?? memoryStore();
  endLater(() => store.close());
  const board = dashboard({ intervalMs: 50, ...options, store });
  const server = await Served.by(board.node);
  endLater(() => server.close());
  endLater(() => board.close());
  return { store, board, server };
}
