import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import express5, { type Express, type Request } from "express";
import { onTestFinished } from "vitest";
import { type HttpOptions, idempotency } from "../../../adapters/http/express.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { EvenkeelEvent, LedgerStore } from "../../../src/index.ts";
import { countedStore } from "../../support/counted-store.ts";
import { HttpClient } from "./http-client.ts";

const express4: typeof express5 = createRequire(import.meta.url)("express4");

/** What the main cases run on. */
export const EXPRESSES = [
  ["Express 5", express5],
  ["Express 4", express4],
] as const;

export type ExpressFactory = typeof express5;

/** One server with a ledger, and a client to it. */
export interface Service {
  readonly app: Express;
  readonly server: Server;
  readonly port: number;
  readonly client: HttpClient;
  readonly store: LedgerStore;
  /** Calls of the ledger's executions by name. */
  readonly storeCalls: Record<string, number>;
  readonly events: EvenkeelEvent[];
  /** The layer over this service's ledger. */
  layer(options?: Partial<HttpOptions<Request>>): ReturnType<typeof idempotency>;
}

/**
 * Starts a service whose routes `mount` adds. It ends with its test, which waits until every connection is closed: a
 * response that never ends would show.
 */
export async function serve(mount: (service: Service) => void, express: ExpressFactory = express5): Promise<Service> {
  const app = express();
  const events: EvenkeelEvent[] = [];
  const { store, calls: storeCalls } = countedStore(memoryStore());
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = new HttpClient(port);
  onTestFinished(async () => {
    client.close();
    await new Promise((resolve) => server.close(resolve));
    await store.close();
  });
  const service: Service = {
    app,
    server,
    port,
    client,
    store,
    storeCalls,
    events,
    layer: (options) =>
      idempotency({
        store,
        scope: () => "",
        onEvent: (event) => events.push(event),
        ...options,
      } as HttpOptions<Request>),
  };
  mount(service);
  // Express prints the errors that its own handler answers, unless it runs under test.
  app.set("env", "test");
  return service;
}
