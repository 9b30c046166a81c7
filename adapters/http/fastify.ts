import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  onErrorHookHandler,
  preParsingHookHandler,
  RouteOptions,
} from "fastify";
import { EvenkeelError } from "../../src/errors.ts";
import {
  createHttpPolicy,
  type ExecutionContext,
  type HttpOptions,
  type HttpPolicy,
  serveNode,
} from "../../src/idempotency/http.ts";
import { bodyOf, keepBytes } from "./fastify-body.ts";
import { hasThrown, headerLines, runHandler, sendAsNodeStream, takeOver } from "./fastify-reply.ts";

export * from "../../src/idempotency/http-face.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The execution that this request runs under; undefined for a request that passed through without a key. */
    idempotency?: ExecutionContext;
  }
  interface FastifyContextConfig {
    /** What this route says otherwise than the plugin's options; false: no layer. */
    idempotency?: false | Partial<HttpOptions<FastifyRequest>>;
  }
}

type Policy = HttpPolicy<FastifyRequest>;

/** Options and policy on an instance, whose children inherit them. On a route's config: its own policy. */
const LAYER = Symbol("evenkeel.idempotency");

const plugin: FastifyPluginAsync<HttpOptions<FastifyRequest>> = async (app, options) => {
  if ((app.initialConfig as { http2?: boolean }).http2) throw invalid("HTTP/2 is not supported");
  app.decorate(LAYER, { options, policy: createHttpPolicy("idempotency", options) });
  if (!app.hasRequestDecorator("idempotency")) app.decorateRequest("idempotency", undefined);
  app.addHook("onRoute", cover);
  app.addHook("preParsing", beforeParsing);
  app.addHook("onError", tellOfError);
};

/**
 * Fastify plugin that stands after authentication, whichever hook that is: it wraps the handlers of routes, so that who may
 * do something is decided before every replay, and `scope` says whose key it is. A request with an idempotency key runs its
 * handler once; retries get the same answer, marked `Idempotent-Replayed: true`. For Fastify 5 over HTTP/1.1.
 *
 * It covers the routes that are registered after it on its instance and on children of that, so that its registration has
 * to be awaited; on a route from before it, a request with a key is an error. `config.idempotency` of a route takes options
 * that differ there, or `false`. Registered again in a child context, the inner options hold.
 *
 * The handler finds its {@link ExecutionContext} as `request.idempotency`: `deriveKey()` for downstream APIs, `step()`,
 * `signal`, and `complete({ status, headers, body }, tx)` to commit the response with its effect.
 *
 * The body is read before the parsers, up to `maxRequestBytes`: authenticate in `onRequest` where strangers must not send
 * that much. Limits and errors of the parsers stay Fastify's.
 *
 * What is kept is what Fastify sends, with what `onSend` hooks have made of it, and these don't run for a replay and for
 * answers of the layer, which are problem documents (RFC 9457); `onResponse` hooks do. Errors go to Fastify unchanged and
 * free the key, unless `record` is `"all"`. A `handlerTimeout` is such an error, although the handler may still be at work.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, out of `register()` or of the route.
 * @example
 * ```ts
 * import { idempotency } from "evenkeel/fastify";
 * import { sqliteStore } from "evenkeel/sqlite";
 * import Fastify from "fastify";
 *
 * const app = Fastify();
 * await app.register(idempotency, { store: sqliteStore("ledger.db"), scope: (request) => request.user.id });
 * app.post<{ Body: { amount: number } }>("/payments", { preHandler: authenticate }, async (request, reply) => {
 *   const key = request.idempotency?.deriveKey("charge");
 *   return reply.code(201).send(await bank.charge(request.body.amount, { key }));
 * });
 * ```
 */
export const idempotency: FastifyPluginAsync<HttpOptions<FastifyRequest>> = Object.assign(plugin, {
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "evenkeel/fastify",
  [Symbol.for("plugin-meta")]: { name: "evenkeel/fastify", fastify: "5.x" },
});

function invalid(what: string): EvenkeelError {
  return new EvenkeelError("INVALID_OPTIONS", `idempotency: ${what}.`);
}

function layerOf(app: FastifyInstance): { options: HttpOptions<FastifyRequest>; policy: Policy } {
  return Reflect.get(app, LAYER);
}

function cover(this: FastifyInstance, route: RouteOptions): void {
  // A plugin of an outer instance sees the routes of inner ones too.
  if (LAYER in (route.config ?? {})) return;
  const { options, policy: shared } = layerOf(this);
  const own = route.config?.idempotency;
  const merged = typeof own === "object" ? { ...options, ...own } : (own as never);
  const policy = own === undefined ? shared : own !== false && createHttpPolicy("config.idempotency", merged);
  route.config = Object.assign({ ...route.config }, { [LAYER]: policy });
  if (policy === false || ![route.method].flat().some((method) => policy.settings.methods.has(method))) return;
  const { handler } = route;
  route.handler = function (request, reply) {
    return serve(policy, request, reply, () => handler.call(this, request, reply));
  };
  route.onSend = [...[route.onSend ?? []].flat(), sendAsNodeStream];
}

function serve(policy: Policy, request: FastifyRequest, reply: FastifyReply, handle: () => unknown): unknown {
  const outer = headerLines(reply);
  let isPassed = false;
  const answer = new Promise((resolve, reject) => {
    serveNode(policy, {
      request,
      req: request.raw,
      res: reply.raw,
      url: request.originalUrl,
      route: request.routeOptions.url,
      parsedBody: () => bodyOf(request),
      outerHeaders: () => outer,
      pass() {
        isPassed = true;
      },
      run(context, handler) {
        // Fastify's own timeout, while somebody else had the claim: nobody would get an answer.
        if (reply.sent) throw new Error("The request was answered before its handler could run.");
        request.idempotency = context;
        resolve(runHandler(handle, request, reply, handler));
      },
      takeOver() {
        takeOver(reply, outer);
        resolve(undefined);
      },
      fail: reject,
    });
  });
  return isPassed ? handle() : answer;
}

/** What has to be known before the body is parsed. */
const beforeParsing: preParsingHookHandler = (request, reply, _payload, done) => {
  const { config = {} as FastifyContextConfig, url } = request.routeOptions;
  const covered: Policy | false | undefined = Reflect.get(config, LAYER);
  const isExempt = request.is404 || config.idempotency === false;
  const policy = covered ?? (!isExempt && layerOf(request.server).policy);
  if (!policy || !mayHaveKey(policy, request)) return done();
  if (covered !== undefined) return keepBytes(policy, request, reply, done);
  done(invalid(`${request.method} ${url} was registered before the plugin; await its registration first`));
};

function mayHaveKey({ settings }: Policy, { method, raw }: FastifyRequest): boolean {
  return settings.methods.has(method) && settings.header.some((name) => name in raw.headers);
}

const tellOfError: onErrorHookHandler = (request, _reply, _error, done) => {
  hasThrown(request);
  done();
};
