import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Locator, Page } from "playwright-core";
import { afterEach } from "vitest";
import { dashboard } from "../../../adapters/dashboard/dashboard.ts";
import type { DashboardOptions } from "../../../adapters/dashboard/dashboard-options.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { Reconciler, type ReconcilerOptions } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";

/** Looks come in quick succession, so that what is awaited is seen soon. */
const INTERVAL_MS = 100;

/** A dashboard behind a server of Node, whose streams can be cut. */
export interface ServedDashboard {
  readonly url: string;
  /** Closes the port and all connections. */
  cut(): Promise<void>;
  /** Opens the same port again. */
  mend(): Promise<void>;
  /** Puts another dashboard in its place, which knows nothing yet. */
  renew(): void;
}

/** For the tests of a file: a SQLite ledger each, reconcilers and dashboards that are ended after the test. */
export function usePageLedger() {
  const { folder } = useTemporaryFolder();
  const endings: (() => unknown)[] = [];
  let store: LedgerStore | undefined;
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
    store = undefined;
  });

  function ledger(): LedgerStore {
    if (store === undefined) {
      const opened = sqliteStore(folder.file("ledger.db"));
      endings.push(() => opened.close());
      store = opened;
    }
    return store;
  }

  return {
    ledger,
    atEnd: (end: () => unknown) => void endings.push(end),
    reconciler(options: Omit<ReconcilerOptions, "store"> & Partial<Pick<ReconcilerOptions, "store">>): Reconciler {
      const made = new Reconciler({ store: ledger(), ...options } as ReconcilerOptions);
      endings.push(() => made.stop({ graceMs: 0 }));
      return made;
    },
    async serve(options: Partial<DashboardOptions> = {}): Promise<ServedDashboard> {
      const begun = () => dashboard({ store: ledger(), intervalMs: INTERVAL_MS, ...options });
      let board = begun();
      const listener: RequestListener = (req, res) => board.node(req, res);
      let server = await listening(listener, 0);
      const { port } = server.address() as AddressInfo;
      endings.push(async () => {
        board.close();
        await closed(server);
      });
      return {
        url: `http://127.0.0.1:${port}/`,
        cut: () => closed(server),
        async mend() {
          server = await listening(listener, port);
        },
        renew() {
          board.close();
          board = begun();
        },
      };
    },
  };
}

/** A panel of the page. */
export function panelOf(page: Page, name: string): Locator {
  return page.locator(`[data-panel="${name}"]`);
}

/** The rows of a panel's tables, as the texts of their cells. */
export function rowsOf(panel: Locator): Promise<string[][]> {
  return panel
    .locator("tbody tr")
    .evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
}

/** What the card of a group says. */
export async function cardOf(page: Page, group: string): Promise<string> {
  const card = page.locator(".card", { has: page.locator(".name", { hasText: group }) });
  return (await card.textContent())?.replace(/\s+/g, " ").trim() ?? "";
}

async function listening(listener: RequestListener, port: number): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return server;
}

async function closed(server: Server): Promise<void> {
  if (!server.listening) return;
  const done = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await done;
}
