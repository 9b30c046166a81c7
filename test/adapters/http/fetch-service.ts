import { onTestFinished } from "vitest";
import { type HttpOptions, idempotent } from "../../../adapters/http/fetch.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { EvenkeelEvent, LedgerStore } from "../../../src/index.ts";
import { countedStore } from "../../support/counted-store.ts";

/** Handlers that are called as they are, without a server, over one ledger. */
export interface Handlers {
  readonly store: LedgerStore;
  /** Calls of the ledger's executions by name. */
  readonly storeCalls: Record<string, number>;
  readonly events: EvenkeelEvent[];
  /** Has every completion wait from now on; returns what lets them go on. */
  holdCompletions(): () => void;
  wrap<Given extends Request, Rest extends unknown[]>(
    handler: (request: Given, ...rest: Rest) => Response | Promise<Response>,
    options?: Partial<HttpOptions<Given>>,
  ): (request: Given, ...rest: Rest) => Promise<Response>;
}

export function handlers(): Handlers {
  const events: EvenkeelEvent[] = [];
  const inner = memoryStore();
  const { store, calls: storeCalls } = countedStore(inner);
  const complete = inner.executions.complete.bind(inner.executions);
  onTestFinished(() => inner.close());
  return {
    store,
    storeCalls,
    events,
    holdCompletions() {
      let letGo = (): void => {};
      const held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      store.executions.complete = (...args) => held.then(() => complete(...args));
      return letGo;
    },
    wrap: (handler, options = {}) =>
      idempotent(handler, { store, scope: () => "", onEvent: (event) => events.push(event), ...options }),
  };
}

type RequestInit = NonNullable<ConstructorParameters<typeof Request>[1]>;

/** A request with a key. */
export function request(init: RequestInit & { readonly key?: string; readonly path?: string } = {}): Request {
  const { key = "k", path = "/orders", ...rest } = init;
  const headers = new Headers(rest.headers);
  headers.set("Idempotency-Key", key);
  return new Request(`http://shop.example${path}`, { method: "POST", ...rest, headers });
}

/** What a replay has to repeat, and whether it is one. */
export async function seen(
  response: Response,
): Promise<readonly [status: number, text: string, replayed: string | null]> {
  return [response.status, await response.text(), response.headers.get("idempotent-replayed")];
}

/** The code of a problem document. */
export async function codeOf(response: Response): Promise<unknown> {
  return ((await response.json()) as { code?: unknown }).code;
}

/** A piece of a body. */
export function piece(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
