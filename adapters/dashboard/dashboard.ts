import type { IncomingMessage, ServerResponse } from "node:http";
import { problemAnswer } from "./answer.ts";
import { type DashboardOptions, dashboardSettings, normalizedPath } from "./dashboard-options.ts";
import { type NodeRequest, sendAnswer, webRequest } from "./node-answer.ts";
import { type Routes, routes } from "./routes.ts";

export type { DashboardOptions } from "./dashboard-options.ts";
export type * from "./dashboard-update.ts";

/** What may hold, as `body`, a body that a framework has read: a request of Fastify or Koa. A function holds none. */
export type ParsedBody = object;

/** A page that shows a ledger, to be mounted in a server. */
export interface Dashboard {
  /** For runtimes and frameworks of the Fetch standard. Never rejects. */
  fetch(request: Request): Promise<Response>;
  /**
   * For servers and frameworks of Node. It answers every request that it is given.
   * @param parsed - where the framework has read the body and keeps it elsewhere than as `req.body`, what has it as `body`.
   */
  node(req: IncomingMessage, res: ServerResponse, parsed?: ParsedBody): void;
  /** Ends the streams of all pages, and looks at the ledger no more. The store stays open. Twice is harmless. */
  close(): void;
}

/**
 * One page that shows a ledger live: what is desired beside what is observed over time, resources with their heartbeats, executions,
 * leaders, shards, and what is held back and why. Keys of executions never leave the server.
 *
 * It has **no authentication of its own**: whoever reaches it sees ids and operations, and with `actions: true` may act. Mount it behind
 * yours.
 *
 * The ledger is looked at only while somebody watches (and for five minutes after, or always, see `history`), once every `intervalMs`
 * however many watch. No timer keeps the process alive.
 *
 * @throws EvenkeelError `INVALID_OPTIONS` that names the option.
 * @example Express
 * ```ts
 * import { dashboard } from "evenkeel/dashboard";
 *
 * const board = dashboard({ store, reconcilers: [workers] });
 * app.use("/dashboard", requireOperator, board.node);
 * ```
 * @example Fastify
 * ```ts
 * const board = dashboard({ store, reconcilers: [workers], basePath: "/dashboard" });
 * app.all("/dashboard", { onRequest: requireOperator }, serve);
 * app.all("/dashboard/*", { onRequest: requireOperator }, serve);
 * function serve(request: FastifyRequest, reply: FastifyReply) {
 *   reply.hijack();
 *   board.node(request.raw, reply.raw, request);
 * }
 * ```
 */
export function dashboard(options: DashboardOptions): Dashboard {
  const settings = dashboardSettings(options);
  const served = routes(settings);
  return {
    fetch: (request) => answered(served, request, settings.basePath ?? ""),
    node(req, res, parsed) {
      // Who has answered already can't be helped.
      answerNode(served, settings.basePath, { req, res, parsed }).catch(() => res.destroy());
    },
    close: () => served.close(),
  };
}

/** What fails is answered too. */
async function answered(served: Routes, request: Request, base: string): Promise<Response> {
  try {
    return await served.answer(request, base);
  } catch {
    return problemAnswer({ status: 500, type: "internal-error", title: "The dashboard failed" });
  }
}

/** A segment of dots, also an encoded one, or a backslash, in front of the query. */
const DETOUR = /^[^?]*(\\|\/(\.|%2e){1,2}(\/|\?|$))/i;
const NO_DETOURS = { status: 404, type: "not-found", title: "There is nothing at this address" } as const;

interface NodeExchange {
  readonly req: NodeRequest;
  readonly res: ServerResponse;
  readonly parsed: ParsedBody | undefined;
}

async function answerNode(served: Routes, basePath: string | undefined, { req, res, parsed }: NodeExchange) {
  // A handler of Express gets the next one there.
  const held: { readonly body?: unknown } | undefined = typeof parsed === "function" ? undefined : parsed;
  const body = held?.body ?? req.body;
  const mount = basePath ?? (typeof req.baseUrl === "string" ? normalizedPath(req.baseUrl) : undefined);
  const path = mount !== undefined && typeof req.originalUrl === "string" ? req.originalUrl : (req.url ?? "/");
  // URLs resolve them, routers do not: what is protected by its path must have no other name.
  if (DETOUR.test(path)) return sendAnswer(problemAnswer(NO_DETOURS), req, res);
  const gone = new AbortController();
  res.once("close", () => gone.abort());
  let response: Response;
  try {
    response = await answered(served, await webRequest(req, { path, body, signal: gone.signal }), mount ?? "");
  } catch {
    response = problemAnswer({ status: 400, type: "invalid-request", title: "The request is not valid" });
  }
  await sendAnswer(response, req, res);
}
