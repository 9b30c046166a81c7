import { createReadStream, openAsBlob } from "node:fs";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { getRequestListener } from "@hono/node-server";
import { type Context, Hono, type Handler as HonoHandler, type MiddlewareHandler } from "hono";
import { compress } from "hono/compress";
import { HTTPException } from "hono/http-exception";
import { stream, streamText } from "hono/streaming";
import { executionOf, idempotency, idempotent } from "../../../../adapters/http/fetch.ts";
import type { Call, Handler, HttpShim, NativeCase, Reply, RouteSpec, ServiceSpec } from "./http-shim.ts";
import { ALL_BYTES, HERE, lines, NO_LUCK } from "./samples.ts";
import { listen } from "./servers.ts";

type BodyInit = ConstructorParameters<typeof Response>[0];
type WebHandler = (request: Request) => Response | Promise<Response>;

const answers = [
  ["json of an object", () => Response.json({ a: [1, "ü"] })],
  ["json(0)", () => Response.json(0)],
  ["json(false)", () => Response.json(false)],
  ["json(null)", () => Response.json(null)],
  ["json with a status and a type of its own", () => typedJson()],
  ["a text", () => new Response("grüße")],
  ["an empty text", () => new Response("")],
  ["an empty 200", () => new Response()],
  ["a null body", () => new Response(null, { headers: { "X-Own": "1" } })],
  ["all 256 byte values", () => new Response(ALL_BYTES, { headers: binary() })],
  [
    "201 with Location, ETag and headers of its own",
    () => Response.json({ id: 1 }, { status: 201, headers: { Location: "/x", ETag: '"v1"', "X-Own": "1" } }),
  ],
  ["204", () => new Response(null, { status: 204 })],
  ["205", () => new Response(null, { status: 205 })],
  ["304", () => new Response(null, { status: 304, headers: { ETag: '"v1"' } })],
  ["a redirect", () => Response.redirect("http://127.0.0.1/elsewhere", 303)],
  ["a blob", () => new Response(new Blob(["of the ", "web"], { type: "text/x-web" }))],
  ["an ArrayBuffer", () => new Response(new Uint8Array(ALL_BYTES).buffer, { headers: binary() })],
  ["URLSearchParams", () => new Response(new URLSearchParams({ a: "1", b: "ü" }))],
  ["a stream that is there at once", () => new Response(new Blob(["of ", "the web"]).stream(), { headers: plain() })],
  ["a stream whose pieces come later", () => new Response(ReadableStream.from(bytes()), { headers: plain() })],
  ["a stream of text", () => new Response(ReadableStream.from(lines()) as BodyInit, { headers: plain() })],
  ["a byte stream", () => new Response(byteStream(), { headers: plain() })],
  ["an empty stream", () => new Response(ReadableStream.from([]), { headers: plain() })],
  ["a file", async () => new Response(await openAsBlob(HERE), { headers: plain() })],
  ["a file as a stream", () => new Response(Readable.toWeb(createReadStream(HERE)) as BodyInit, { headers: plain() })],
  [
    "an encoded body",
    () => new Response(gzipSync("squeezed"), { headers: { ...plain(), "Content-Encoding": "gzip" } }),
  ],
  [
    "pieces with a Content-Length",
    () => new Response(ReadableStream.from(bytes()), { headers: { ...plain(), "Content-Length": "4" } }),
  ],
  ["repeated headers", () => repeatedHeaders()],
  ["an answer made of another", () => new Response("x", new Response(null, { status: 202, headers: plain() }))],
] satisfies (readonly [string, WebHandler])[];

const failures = [
  [
    "throws",
    () => {
      throw NO_LUCK();
    },
  ],
  ["rejects", () => Promise.reject(NO_LUCK())],
  ["throws what is no error", () => Promise.reject("no luck")],
] satisfies (readonly [string, WebHandler])[];

const honoAnswers = [
  ["c.json of an object", (c) => c.json({ a: [1, "ü"] })],
  ["c.json(0)", (c) => c.json(0)],
  ["c.json(false)", (c) => c.json(false)],
  ["c.json(null)", (c) => c.json(null)],
  ["c.text", (c) => c.text("grüße")],
  ["c.text of nothing", (c) => c.text("")],
  ["c.html", (c) => c.html("<p>ü</p>")],
  ["c.body of nothing", (c) => c.body(null)],
  ["c.body of 204", (c) => c.body(null, 204)],
  ["c.body of bytes", (c) => c.body(new Uint8Array(ALL_BYTES), 200, binary())],
  ["c.redirect", (c) => c.redirect("/elsewhere", 303)],
  ["c.newResponse", (c) => c.newResponse("made", 203, plain())],
  [
    "c.header and c.status",
    (c) => {
      c.status(201);
      c.header("Location", "/x");
      c.header("ETag", '"v1"');
      c.header("Link", "<a>; rel=x", { append: true });
      c.header("Link", "<b>; rel=y", { append: true });
      return c.json({ id: 1 });
    },
  ],
  ["c.res", (c) => setRes(c)],
  ["stream()", (c) => stream(c, (out) => writeAll(out))],
  ["streamText()", (c) => streamText(c, (out) => writeAll(out))],
  ["stream() that pipes", (c) => stream(c, (out) => out.pipe(new Blob(["of the ", "web"]).stream() as ReadableStream))],
] satisfies (readonly [string, HonoHandler])[];

const honoFailures = [
  [
    "throws an HTTPException",
    () => {
      throw new HTTPException(418, { message: "no luck" });
    },
  ],
  [
    "throws an HTTPException with a response",
    () => {
      throw new HTTPException(403, { res: new Response("none", { status: 403, headers: { "X-Own": "1" } }) });
    },
  ],
  [
    "throws what onError answers with success",
    () => {
      throw new HTTPException(200, { message: "no luck" });
    },
  ],
] satisfies (readonly [string, HonoHandler])[];

/** Plain handlers, with the `Request` and `Response` of Node itself. */
export const fetchOnNodeShim: HttpShim = {
  name: "fetch on node:http",
  answers,
  failures,
  traits: { keepsErrorAnswers: false, keepsHeaderLines: false },
  header: (request: Request, header) => request.headers.get(header) ?? undefined,
  async start(service) {
    const routes = new Map(service.routes.map((route) => [routeKey(route), webRoute(service, route)]));
    async function serve(request: Request): Promise<Response> {
      const header = (name: string): string | undefined => request.headers.get(name) ?? undefined;
      const { refuse, headers = {} } = service.before?.(header) ?? {};
      if (refuse !== undefined) return new Response(null, { status: refuse, headers });
      const { pathname } = new URL(request.url);
      const route = routes.get(`${request.method} ${pathname}`) ?? (() => new Response(null, { status: 404 }));
      const response = await route(request);
      // The usual order: what the handler has set for itself stays.
      for (const [name, value] of Object.entries(headers)) {
        if (!response.headers.has(name)) response.headers.set(name, value);
      }
      return response;
    }
    const listener = getRequestListener(service.compression === "around" ? compressed(serve) : serve, {
      overrideGlobalObjects: false,
      errorHandler(error) {
        service.onError?.(error);
        return new Response("Internal Server Error", { status: statusOf(error) });
      },
    });
    return listen(createServer(listener));
  },
};

/** Hono, whose server brings a `Request` and `Response` of its own. */
export const honoShim: HttpShim = {
  name: "fetch under Hono",
  answers: [
    ...answers.map(([what, handler]): NativeCase => [what, (c: Context) => (handler as WebHandler)(c.req.raw)]),
    ...honoAnswers,
  ],
  failures: [...failures.slice(0, 2), ...honoFailures],
  traits: { keepsErrorAnswers: true, keepsHeaderLines: false },
  header: (c: Context, header) => c.req.header(header),
  async start(service) {
    const app = new Hono();
    app.onError((error, c) => {
      service.onError?.(error);
      if (error instanceof HTTPException) return error.getResponse();
      return c.text("Internal Server Error", statusOf(error) as 500);
    });
    app.use(async (c, next) => {
      const { refuse, headers = {} } = service.before?.((header) => c.req.header(header)) ?? {};
      for (const [name, value] of Object.entries(headers)) c.header(name, value);
      if (refuse !== undefined) return c.body(null, refuse as 403);
      return next();
    });
    if (service.compression === "around") app.use(compress({ threshold: 0 }));
    for (const { path, mount = "", method = "POST", layer = {}, handler } of service.routes) {
      const stack: MiddlewareHandler[] = [];
      if (layer !== false) stack.push(idempotency({ ...service.options, ...layer } as never));
      if (service.compression === "within") stack.push(compress({ threshold: 0 }));
      stack.push("native" in handler ? handler.native : honoHandler(handler));
      const router = new Hono();
      router.on(method, [path], ...stack);
      app.route(mount === "" ? "/" : mount, router);
    }
    return listen(createServer(getRequestListener(app.fetch)));
  },
};

function webRoute({ options, compression }: ServiceSpec, { layer = {}, handler }: RouteSpec): WebHandler {
  const native: WebHandler = "native" in handler ? handler.native : webHandler(handler);
  const inner = compression === "within" ? compressed(native) : native;
  return layer === false ? inner : idempotent(inner, { ...options, ...layer } as never);
}

function routeKey({ path, mount = "", method = "POST" }: RouteSpec): string {
  return `${method} ${mount}${mount !== "" && path === "/" ? "" : path}`;
}

function webHandler(handler: Handler): WebHandler {
  return async (request) => {
    const { status = 200, headers = {}, json, body } = await handler(callOf(request, executionOf(request)));
    const init = { status, headers: headersOf(headers) };
    return json === undefined ? new Response(bodyInit(body), init) : Response.json(json, init);
  };
}

function honoHandler(handler: Handler): HonoHandler {
  return async (c) => {
    const { status = 200, headers = {}, json, body } = await handler(callOf(c.req.raw, executionOf(c)));
    for (const [name, value] of headersOf(headers)) c.header(name, value, { append: name === "set-cookie" });
    c.status(status as 200);
    return json === undefined ? c.newResponse(bodyInit(body) as never) : c.json(json as never);
  };
}

function callOf(request: Request, execution: Call["execution"]): Call {
  return {
    method: request.method,
    header: (name) => request.headers.get(name) ?? undefined,
    body: async () => Buffer.from(await request.arrayBuffer()),
    execution,
  };
}

function headersOf(headers: NonNullable<Reply["headers"]>): Headers {
  const lines = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    for (const line of [value].flat()) lines.append(name, line);
  }
  return lines;
}

function bodyInit(body: Reply["body"]): BodyInit {
  if (body === undefined || typeof body === "string") return body ?? null;
  return body instanceof Uint8Array ? new Uint8Array(body) : ReadableStream.from(encoded(body));
}

async function* encoded(pieces: AsyncIterable<string | Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) yield typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
}

const bytes = () => encoded(lines());

/** What errors of HTTP libraries say of themselves. */
function statusOf(error: unknown): number {
  return (error as { status?: number } | undefined)?.status ?? 500;
}

function compressed(handler: WebHandler): WebHandler {
  return async (request) => {
    const response = await handler(request);
    const headers = new Headers(response.headers);
    if (!/accept-encoding/i.test(headers.get("vary") ?? "")) headers.append("Vary", "Accept-Encoding");
    const isTaken = /\bgzip\b/.test(request.headers.get("accept-encoding") ?? "");
    const { body, status } = response;
    if (body === null || !isTaken || headers.has("content-encoding")) return new Response(body, { status, headers });
    headers.set("Content-Encoding", "gzip");
    headers.delete("Content-Length");
    return new Response(body.pipeThrough(new CompressionStream("gzip") as never), { status, headers });
  };
}

function byteStream(): ReadableStream {
  const pieces = ["of ", "bytes"];
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(piece));
    },
  });
}

function typedJson(): Response {
  return Response.json({ title: "fine" }, { status: 202, headers: { "Content-Type": "application/hal+json" } });
}

function repeatedHeaders(): Response {
  const response = new Response("x");
  response.headers.append("Link", "<a>; rel=x");
  response.headers.append("Link", "<b>; rel=y");
  return response;
}

function setRes(c: Context): Response {
  c.res = new Response("set", { status: 202, headers: { ...plain(), "X-Own": "1" } });
  return c.res;
}

async function writeAll(out: { write(piece: string): Promise<unknown> }): Promise<void> {
  for await (const line of lines()) await out.write(line);
}

const plain = (): Record<string, string> => ({ "Content-Type": "text/plain" });
const binary = (): Record<string, string> => ({ "Content-Type": "application/octet-stream" });
