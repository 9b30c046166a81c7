import type { DefaultContext, DefaultState, Middleware, ParameterizedContext } from "koa";
import {
  createHttpPolicy,
  type ExecutionContext,
  type HttpOptions,
  type NodeHandler,
  serveNode,
} from "../../src/idempotency/http.ts";
import { type ParsedRequest, parsedBody } from "./parsed-body.ts";

export * from "../../src/idempotency/http-face.ts";

declare module "koa" {
  interface ExtendableContext {
    /** The execution that this request runs under; undefined for a request that passed through without a key. */
    idempotency?: ExecutionContext;
  }
}

/**
 * Koa middleware that stands after authentication: who may do something is decided before every replay, and `scope` says
 * whose key it is. A request with an idempotency key runs its handler once; retries get the same answer, marked
 * `Idempotent-Replayed: true`. For Koa 3 and 2, on an application, a router or a route, before or after body parsers.
 *
 * The handler finds its {@link ExecutionContext} as `ctx.idempotency`: `deriveKey()` for downstream APIs, `step()`,
 * `signal`, and `complete({ status, headers, body }, tx)` to commit the response with its effect.
 *
 * What is kept is what Koa sends, with what outer middleware has made of it. On a replay and on an answer of the layer,
 * which are problem documents (RFC 9457), outer middleware finds the status and no body; headers that it sets are sent.
 * Errors of the handler go on to outer middleware and to Koa unchanged and free the key, unless `record` is `"all"`.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, at once.
 * @example
 * ```ts
 * import { bodyParser } from "@koa/bodyparser";
 * import { idempotency } from "evenkeel/koa";
 * import { sqliteStore } from "evenkeel/sqlite";
 * import Koa from "koa";
 *
 * const app = new Koa();
 * app.use(authenticate);
 * app.use(idempotency({ store: sqliteStore("ledger.db"), scope: (ctx) => ctx.state.user.id }));
 * app.use(bodyParser());
 * app.use(async (ctx) => {
 *   const { amount } = ctx.request.body as { amount: number };
 *   const key = ctx.idempotency?.deriveKey("charge");
 *   ctx.status = 201;
 *   ctx.body = await bank.charge(amount, { key });
 * });
 * ```
 */
export function idempotency<StateT = DefaultState, ContextT = DefaultContext>(
  options: HttpOptions<ParameterizedContext<StateT, ContextT>>,
): Middleware<StateT, ContextT> {
  const policy = createHttpPolicy("idempotency", options);
  return (ctx, next) =>
    new Promise<void>((resolve, reject) => {
      serveNode(policy, {
        request: ctx,
        req: ctx.req,
        res: ctx.res,
        url: ctx.originalUrl,
        parsedBody: () => parsedBody(ctx.request as ParsedRequest),
        pass: () => resolve(next()),
        run(context, handler) {
          ctx.idempotency = context;
          answerToNobody(ctx, handler);
          // From here on the handler alone decides when outer middleware goes on, and with what.
          resolve(runOf(ctx, next, handler));
        },
        takeOver: resolve,
        sendLast(status, send) {
          ctx.status = status;
          whenKoaResponds(ctx, () => {
            // Whatever outer middleware has made of it, and with its own reason.
            ctx.status = status;
            send();
          });
        },
        fail: reject,
      });
    });
}

/** What of a context does not depend on the types of an application. */
type AnyContext = Pick<ParameterizedContext, "onerror" | "req" | "res" | "respond"> & { response: object };

async function runOf(ctx: AnyContext, next: () => Promise<unknown>, handler: NodeHandler): Promise<void> {
  try {
    await next();
  } catch (error) {
    handler.threw();
    throw error;
  }
  // What it sends by itself may come later, and pass the response by.
  if (ctx.respond === false) handler.streams();
  else handler.returned();
}

/**
 * Has Koa answer as if the client were there. Once it is gone, Koa leaves out the body or the whole answer, which is what
 * a retry has to get.
 */
function answerToNobody(ctx: AnyContext, handler: NodeHandler): void {
  const { onerror, req, res, response } = ctx;
  let isOfConnection = false;
  let isToNobody = false;
  Object.defineProperty(response, "writable", {
    configurable: true,
    get() {
      isToNobody ||= !req.socket.writable;
      return !isOfConnection && !res.writableEnded;
    },
  });
  ctx.onerror = (error: NodeJS.ErrnoException | null | undefined) => {
    // Without the layer Koa would not have begun to send a stream that nobody takes.
    if (isToNobody && error?.code === "ERR_STREAM_PREMATURE_CLOSE") return;
    // Koa reports a broken connection here too, while the handler is still at work: that is no answer to its request.
    isOfConnection = error === req.socket.errored && error !== res.errored;
    if (error && !isOfConnection) handler.threw();
    try {
      onerror.call(ctx, error as Error);
    } finally {
      isOfConnection = false;
    }
  };
}

/** Calls back when outer middleware is done, which Koa says nowhere: it asks then whether it has to answer. */
function whenKoaResponds(ctx: AnyContext, callback: () => void): void {
  Object.defineProperty(ctx, "respond", {
    configurable: true,
    enumerable: true,
    get() {
      callback();
      return false;
    },
    set() {},
  });
}
