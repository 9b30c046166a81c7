import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import Koa3, { type Context, type Middleware } from "koa";
import { onTestFinished } from "vitest";
import { type HttpOptions, idempotency } from "../../../adapters/http/koa.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { EvenkeelEvent, LedgerStore } from "../../../src/index.ts";
import { HttpClient } from "./http-client.ts";

const Koa2: typeof Koa3 = createRequire(import.meta.url)("koa2");

/** What the cases run on. */
export const KOAS = [
  ["Koa 3", Koa3],
  ["Koa 2", Koa2],
] as const;

export type KoaClass = typeof Koa3;

/** One server with a ledger, and a client to it. */
export interface Service {
  readonly app: Koa3;
  readonly port: number;
  readonly client: HttpClient;
  readonly store: LedgerStore;
  readonly events: EvenkeelEvent[];
  /** What reached `app.on("error")`. */
  readonly errors: unknown[];
  /** The layer over this service's ledger. */
  layer(options?: Partial<HttpOptions<Context>>): Middleware;
}

/** Starts a service whose middleware `mount` adds. It ends with its test, which waits until every connection is closed. */
export async function serve(Koa: KoaClass, mount: (service: Service) => void): Promise<Service> {
  const app = new Koa();
  const events: EvenkeelEvent[] = [];
  const errors: unknown[] = [];
  const store = memoryStore();
  const server = createServer((req, res) => void app.callback()(req, res));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = new HttpClient(port);
  onTestFinished(async () => {
    client.close();
    await new Promise((resolve) => server.close(resolve));
    await store.close();
  });
  app.on("error", (error) => errors.push(error));
  const service: Service = {
    app,
    port,
    client,
    store,
    events,
    errors,
    layer: (options) =>
      idempotency({
        store,
        scope: () => "",
        onEvent: (event: EvenkeelEvent) => events.push(event),
        ...options,
      } as never),
  };
  mount(service);
  return service;
}
