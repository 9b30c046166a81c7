import type { Request, RequestHandler } from "express";
import { createHttpPolicy, type ExecutionContext, type HttpOptions, serveNode } from "../../src/idempotency/http.ts";
import { type ParsedRequest, parsedBody } from "./parsed-body.ts";

export * from "../../src/idempotency/http-face.ts";

declare global {
  namespace Express {
    interface Request {
      /** The execution that this request runs under; undefined for a request that passed through without a key. */
      idempotency?: ExecutionContext;
    }
  }
}

/**
 * Express middleware that stands after authentication: who may do something is decided before every replay, and `scope`
 * says whose key it is. A request with an idempotency key runs its handler once; retries get the same answer, marked
 * `Idempotent-Replayed: true`. For Express 4 and 5, on an application, a router or a route, before or after body parsers.
 *
 * The handler finds its {@link ExecutionContext} as `req.idempotency`: `deriveKey()` for downstream APIs, `step()`,
 * `signal`, and `complete({ status, headers, body }, tx)` to commit the response with its effect.
 *
 * Answers of the layer itself are problem documents (RFC 9457); errors of the handler go to Express unchanged and free the
 * key. Where Express has hidden an error in an error handler, the status of the answer decides what is kept.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, at once.
 * @example
 * ```ts
 * import express from "express";
 * import { idempotency } from "evenkeel/express";
 * import { sqliteStore } from "evenkeel/sqlite";
 *
 * const app = express();
 * app.use(authenticate, idempotency({ store: sqliteStore("ledger.db"), scope: (req) => req.user.id }));
 * app.post("/payments", express.json(), async (req, res) => {
 *   const key = req.idempotency?.deriveKey("charge");
 *   res.status(201).json(await bank.charge(req.body.amount, { key }));
 * });
 * ```
 */
export function idempotency(options: HttpOptions<Request>): RequestHandler {
  const policy = createHttpPolicy<Request>("idempotency", options);
  return (req, res, next) => {
    serveNode(policy, {
      request: req,
      req,
      res,
      url: req.originalUrl,
      parsedBody: () => parsedBody(req as ParsedRequest),
      pass: () => next(),
      run(context, handler) {
        req.idempotency = context;
        const { sendFile } = res;
        // Its callback may be told that the client has left before there is a stream to be seen.
        res.sendFile = (...args: unknown[]) => {
          handler.streams();
          return Reflect.apply(sendFile, res, args);
        };
        next();
      },
      fail: (error) => next(error),
    });
  };
}
