import type { AddressInfo } from "node:net";
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from "fastify";
import { onTestFinished } from "vitest";
import { type HttpOptions, idempotency } from "../../../adapters/http/fastify.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { EvenkeelEvent, LedgerStore } from "../../../src/index.ts";
import { HttpClient } from "./http-client.ts";

/** One application with a ledger, and a client to it. */
export interface Service {
  readonly app: FastifyInstance;
  readonly port: number;
  readonly client: HttpClient;
  readonly store: LedgerStore;
  readonly events: EvenkeelEvent[];
}

export interface ServiceOptions {
  readonly server?: FastifyServerOptions;
  readonly options?: Partial<HttpOptions<FastifyRequest>>;
  /** Called before the plugin is registered. */
  readonly before?: (app: FastifyInstance) => unknown;
}

/**
 * Starts an application whose routes `mount` adds, after the plugin. It ends with its test, which waits until every
 * connection is closed: a response that never ends would show.
 */
export async function serve(
  mount: (app: FastifyInstance) => unknown,
  { server = {}, options = {}, before }: ServiceOptions = {},
): Promise<Service> {
  const app: FastifyInstance = Fastify(server);
  const events: EvenkeelEvent[] = [];
  const store = memoryStore();
  await before?.(app);
  await app.register(idempotency, { ...layerOptions(store, events), ...options });
  await mount(app);
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  const client = new HttpClient(port);
  onTestFinished(async () => {
    client.close();
    await app.close();
    await store.close();
  });
  return { app, port, client, store, events };
}

/** What a layer needs at least. */
export function layerOptions(store: LedgerStore, events: EvenkeelEvent[] = []): HttpOptions<FastifyRequest> {
  return { store, scope: () => "", onEvent: (event) => events.push(event) };
}
