import {
  createHttpPolicy,
  type ExecutionContext,
  type HttpOptions,
  serveWeb,
  type WebHandler,
} from "../../src/idempotency/http.ts";
import { type HonoRequest, honoBody } from "./hono-body.ts";

export * from "../../src/idempotency/http-face.ts";

/** What the layer needs of Hono's `Context`. */
export interface HonoContext {
  readonly req: HonoRequest;
  get res(): Response;
  set res(response: Response | undefined);
  readonly error: Error | undefined;
  readonly finalized: boolean;
  newResponse(body: null): Response;
}

/** The executions of the requests that are being handled, by the object that the handler has of them. */
const executions = new WeakMap<object, ExecutionContext>();

/**
 * The execution that a request runs under: `deriveKey()` for downstream APIs, `step()`, `signal`, and
 * `complete({ status, headers, body }, tx)` to commit the response with its effect.
 * @param request - the very `Request` that the handler was given, or Hono's context.
 * @returns undefined for a request that passed through without a key.
 */
export function executionOf(request: Request | HonoContext): ExecutionContext | undefined {
  return executions.get(request);
}

/**
 * A handler of the Fetch standard that stands after authentication: who may do something is decided before every replay,
 * and `scope` says whose key it is. Authenticate around it, or wrap the handlers that are reached once that is done. For
 * Next.js route handlers, Workers, Bun, Deno and whatever else takes a `Request` and gives a `Response`; Hono applications
 * have {@link idempotency}.
 *
 * A request with an idempotency key runs the handler once; retries get the same answer, marked `Idempotent-Replayed: true`.
 * To be called once, not for every request. The handler gets the request itself with an unread body, and whatever else it
 * is called with (`env` and `ctx` of Workers, `{ params }` of Next.js). It finds its {@link ExecutionContext} by
 * {@link executionOf}.
 *
 * Answers of the layer itself are problem documents (RFC 9457). What the handler throws is thrown to the caller, unchanged,
 * and frees the key. Where the client has left before anything ran, the answer that nobody sees is an empty 499.
 *
 * The path is that of `request.url`: what a router in front of it has cut off is no part of it, so that two handlers may
 * need an `operation` to be told apart. Workers need the flag `nodejs_compat` (`node:crypto`, `node:zlib`,
 * `node:async_hooks`, `Buffer`); they stop when their client leaves, unless the promise is given to `ctx.waitUntil()` too.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, at once.
 * @example
 * ```ts
 * import { executionOf, idempotent } from "evenkeel/fetch";
 * import { postgresStore } from "evenkeel/postgres";
 *
 * // app/payments/route.ts of Next.js
 * export const POST = authenticated(
 *   idempotent(
 *     async (request: Request) => {
 *       const { amount } = (await request.json()) as { amount: number };
 *       const key = executionOf(request)?.deriveKey("charge");
 *       return Response.json(await bank.charge(amount, { key }), { status: 201 });
 *     },
 *     { store: postgresStore(pool), scope: (request) => accountOf(request) },
 *   ),
 * );
 * ```
 */
export function idempotent<Given extends Request, Rest extends unknown[]>(
  handler: (request: Given, ...rest: Rest) => Response | Promise<Response>,
  options: HttpOptions<Given>,
): (request: Given, ...rest: Rest) => Promise<Response> {
  const policy = createHttpPolicy<Given>("idempotent", options);
  return (request, ...rest) =>
    serveWeb(policy, {
      subject: request,
      request,
      pass: () => handler(request, ...rest),
      async run(context, running) {
        executions.set(request, context);
        return seen(await handler(request, ...rest), running);
      },
    });
}

/**
 * Hono middleware that stands after authentication: who may do something is decided before every replay, and `scope` says
 * whose key it is. Otherwise as {@link idempotent}, but that `scope` and the other options are given Hono's context, that
 * headers which outer middleware has set are on every answer, and that errors go to `app.onError()`; `record: "all"` keeps
 * its answer. The handler finds its {@link ExecutionContext} by `executionOf(c)`.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, at once.
 * @example
 * ```ts
 * import { executionOf, idempotency } from "evenkeel/fetch";
 * import { sqliteStore } from "evenkeel/sqlite";
 * import { type Context, Hono } from "hono";
 *
 * const app = new Hono<Env>();
 * const store = sqliteStore("ledger.db");
 * app.use(authenticate, idempotency({ store, scope: (c: Context<Env>) => c.get("account") }));
 * app.post("/payments", async (c) => {
 *   const { amount } = await c.req.json();
 *   return c.json(await bank.charge(amount, { key: executionOf(c)?.deriveKey("charge") }), 201);
 * });
 * ```
 */
export function idempotency<Context extends HonoContext>(
  options: HttpOptions<Context>,
): (c: Context, next: () => Promise<void>) => Promise<void> {
  const policy = createHttpPolicy<Context>("idempotency", options);
  return async (c, next) => {
    const { raw } = c.req;
    const response = await serveWeb(policy, {
      subject: c,
      request: raw,
      usedBody: () => honoBody(c.req),
      // Not `c.res.headers`: once that was asked for, Hono puts them over what the handler sets.
      outerHeaders: () => new Headers(c.newResponse(null).headers),
      async pass() {
        await next();
        return c.res;
      },
      async run(context, running) {
        executions.set(raw, context).set(c, context);
        await next();
        // Nobody has answered, which Hono takes for an error of its own.
        if (!c.finalized) throw UNANSWERED;
        if (c.error !== undefined) running.threw();
        return seen(c.res, running);
      },
    }).catch((error: unknown) => {
      if (error !== UNANSWERED) throw error;
    });
    if (response === undefined || response === c.res) return;
    // Hono merges the headers of two responses.
    c.res = undefined;
    c.res = response;
  };
}

const UNANSWERED = new Error("No handler has answered.");

/** @hono/node-server's mark of a handler that has written to the socket itself. */
function seen(response: Response, running: WebHandler): Response {
  if (response?.headers?.has("x-hono-already-sent")) running.answeredUnseen();
  return response;
}
