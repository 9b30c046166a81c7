import { describe, onTestFinished } from "vitest";
import type { HttpOptions } from "../../../../adapters/http/express.ts";
import type { EvenkeelEvent, LedgerStore } from "../../../../src/index.ts";
import { countedStore } from "../../../support/counted-store.ts";
import { HttpClient } from "../http-client.ts";
import { answerCases } from "./answer-cases.ts";
import { concurrencyCases } from "./concurrency-cases.ts";
import { contextCases } from "./context-cases.ts";
import { errorCases } from "./error-cases.ts";
import { hangUpCases } from "./hang-up-cases.ts";
import type { HttpShim, ServiceSpec } from "./http-shim.ts";
import { identityCases } from "./identity-cases.ts";
import { keyCases } from "./key-cases.ts";
import { largeCases } from "./large-cases.ts";
import type { Ledger } from "./ledgers.ts";
import { processCases } from "./process-cases.ts";
import { responseCases } from "./response-cases.ts";
import { securityCases } from "./security-cases.ts";
import { storeCases } from "./store-cases.ts";

/** One server with a ledger, and a client to it. */
export interface Service {
  readonly port: number;
  readonly client: HttpClient;
  readonly store: LedgerStore;
  /** Calls of the ledger's executions by name. */
  readonly storeCalls: Record<string, number>;
  readonly events: EvenkeelEvent[];
  /** What reached the framework's own place for errors. */
  readonly errors: unknown[];
}

/** What the cases of the suite are given. */
export interface Suite {
  readonly shim: HttpShim;
  readonly url: Ledger["url"];
  /**
   * Starts a service. It ends with its test, which waits until every connection is closed. The default scope is the header
   * `X-Tenant`.
   */
  serve(spec: Omit<ServiceSpec, "options"> & { readonly options?: Partial<HttpOptions<never>> }): Promise<Service>;
}

/** Every rule of the HTTP layer on one framework and one ledger. `core` is what depends on the engine. */
export function httpSuite(shim: HttpShim, ledger: Ledger, extent: "all" | "core" = "all"): void {
  const suite: Suite = { shim, url: ledger.url, serve: (spec) => serve(shim, ledger, spec) };
  describe(`the HTTP layer of ${shim.name} on ${ledger.name}`, () => {
    for (const cases of CORE) cases(suite);
    if (extent === "core") return;
    for (const cases of REST) cases(suite);
  });
}

type Cases = (suite: Suite) => void;

const CORE: readonly Cases[] = [answerCases, concurrencyCases, contextCases, errorCases, processCases];
const REST: readonly Cases[] = [
  keyCases,
  identityCases,
  responseCases,
  hangUpCases,
  largeCases,
  storeCases,
  securityCases,
];

async function serve(
  shim: HttpShim,
  ledger: Ledger,
  { options, ...spec }: Parameters<Suite["serve"]>[0],
): Promise<Service> {
  const events: EvenkeelEvent[] = [];
  const errors: unknown[] = [];
  const opened = await ledger.open();
  const { store, calls: storeCalls } = countedStore(opened.store);
  const server = await shim.start({
    onError: (error) => errors.push(error),
    ...spec,
    options: {
      store,
      // Calls are counted: a store that is slow because the machine is, is asked no second time.
      storeTimeoutMs: 20_000,
      scope: (request: never) => shim.header(request, "x-tenant") ?? "",
      onEvent: (event: EvenkeelEvent) => events.push(event),
      ...options,
    },
  });
  const client = new HttpClient(server.port);
  onTestFinished(async () => {
    client.close();
    await server.stop();
    await opened.close();
  });
  return { port: server.port, client, store, storeCalls, events, errors };
}
