import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import Router from "@koa/router";
import Koa3, { type Context, type Middleware } from "koa";
import compress from "koa-compress";
import { idempotency } from "../../../../adapters/http/koa.ts";
import type { Handler, HttpShim, NativeCase, Reply, RouteSpec, ServiceSpec } from "./http-shim.ts";
import { ALL_BYTES, bodyOf, HERE, lines, NO_LUCK } from "./samples.ts";
import { listen } from "./servers.ts";

const Koa2: typeof Koa3 = createRequire(import.meta.url)("koa2");

type NativeKoa = (ctx: Context) => unknown;

/** A handler whose `ctx.body` is what is given, with what is set on the context before. */
function bodied(body: () => unknown, before: NativeKoa = () => {}): NativeKoa {
  return (ctx) => {
    before(ctx);
    ctx.body = body();
  };
}

const answers = [
  ["an object", bodied(() => ({ a: [1, "ü"] }))],
  ["an array", bodied(() => [{ a: 1 }, null])],
  ["0", bodied(() => 0)],
  ["false", bodied(() => false)],
  ["a text", bodied(() => "grüße")],
  ["html", bodied(() => "<p>grüße</p>")],
  ["an empty text", bodied(() => "")],
  ["null", bodied(() => null)],
  // Koa 2 answers it with 204, Koa 3 with the text.
  [
    "null as JSON",
    bodied(
      () => null,
      (ctx) => {
        ctx.status = 200;
        ctx.type = "json";
      },
    ),
  ],
  ["null with a status", bodied(() => null, statusOf(200))],
  ["undefined with a status", bodied(() => undefined, statusOf(202))],
  ["all 256 byte values", bodied(() => ALL_BYTES)],
  ["a text of a type of its own", bodied(() => "a,b", typeOf("text/csv"))],
  [
    "201 with Location, ETag and headers of its own",
    (ctx) => {
      ctx.status = 201;
      ctx.set({ Location: "/x", "X-Own": "1" });
      ctx.etag = "v1";
      ctx.body = { id: 1 };
    },
  ],
  ["204", statusOf(204)],
  ["205", statusOf(205)],
  ["304", bodied(() => "not sent", statusOf(304))],
  ["a status alone", statusOf(202)],
  ["a status and reason of its own", bodied(() => "x", messageOf(299, "Fine"))],
  ["a redirect", (ctx) => ctx.redirect("/elsewhere")],
  [
    "a redirect with a status",
    (ctx) => {
      ctx.status = 303;
      ctx.redirect("/elsewhere");
    },
  ],
  ["an attachment", bodied(() => "x", attachmentOf("a b.txt"))],
  ["a stream", bodied(() => Readable.from(["a", "b", "c"]), typeOf("text"))],
  ["an empty stream", bodied(() => Readable.from([]))],
  ["a stream of a known length", bodied(() => Readable.from([Buffer.from("abc"), Buffer.from("def")]), lengthOf(6))],
  ["an async generator", bodied(() => Readable.from(lines()))],
  ["a file", bodied(() => createReadStream(HERE), typeOf("js"))],
  [
    "an encoded body",
    bodied(
      () => gzipSync("squeezed"),
      (ctx) => ctx.set("Content-Encoding", "gzip"),
    ),
  ],
  [
    "repeated headers",
    (ctx) => {
      ctx.append("Link", "<a>; rel=x");
      ctx.append("Link", "<b>; rel=y");
      ctx.set("Warning", ["1 - a", "2 - b"]);
      ctx.body = "x";
    },
  ],
  [
    "flushed headers",
    (ctx) => {
      ctx.status = 200;
      ctx.type = "text";
      ctx.flushHeaders();
      ctx.body = Readable.from(lines());
    },
  ],
  [
    "respond = false, write and end",
    (ctx) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      ctx.res.write("one ");
      ctx.res.write(Buffer.from("two "));
      ctx.res.end("three");
    },
  ],
  [
    "respond = false, and an end that comes later",
    (ctx) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      setImmediate(() => {
        ctx.res.write("one ");
        setImmediate(() => ctx.res.end("two"));
      });
    },
  ],
  [
    "respond = false and writeHead",
    (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(202, { "X-A": "1", "Content-Type": "text/plain" }).end("x");
    },
  ],
  [
    "an end of its own, with Koa left to respond",
    (ctx) => {
      ctx.res.statusCode = 200;
      ctx.res.end("done");
    },
  ],
  [
    "a piece of its own, with Koa left to end",
    (ctx) => {
      ctx.res.statusCode = 200;
      ctx.res.write("one ");
      ctx.body = "two";
    },
  ],
] satisfies (readonly [string, NativeKoa])[];

/** What Koa 2 would take for an object to be sent as JSON. */
const answersOf3 = [
  ["a web stream", bodied(() => new Blob(["of ", "the web"]).stream(), typeOf("text"))],
  ["a blob", bodied(() => new Blob(["of the ", "web"], { type: "text/plain" }))],
  ["a response", bodied(() => new Response("made", { status: 201, headers: { "X-Own": "1", ETag: '"v"' } }))],
  ["a response without a body", bodied(() => new Response(null, { status: 200 }))],
] satisfies (readonly [string, NativeKoa])[];

const failures = [
  [
    "throws",
    () => {
      throw NO_LUCK();
    },
  ],
  ["rejects", () => Promise.reject(NO_LUCK())],
  [
    "throws after it has set a body",
    (ctx) => {
      ctx.body = { half: true };
      throw NO_LUCK();
    },
  ],
  ["calls ctx.throw(418)", (ctx) => ctx.throw(418)],
  ["calls ctx.throw(500)", (ctx) => ctx.throw(500)],
  ["calls ctx.throw() with a text", (ctx) => ctx.throw(422, "no luck")],
  ["throws an error with headers", () => failWith({ status: 503, headers: { "Retry-After": "7" } })],
  ["throws an error that may be shown", () => failWith({ status: 400, expose: true })],
  ["throws an error with a status of success", () => failWith({ status: 200 })],
  ["throws what is no error", () => Promise.reject("no luck")],
  [
    "answers with what has no JSON",
    (ctx) => {
      ctx.body = { big: 1n };
    },
  ],
] satisfies (readonly [string, NativeKoa])[];

export const koa3Shim = shimOf("Koa 3", Koa3, [...answers, ...answersOf3]);
export const koa2Shim = shimOf("Koa 2", Koa2, answers);

function statusOf(status: number): NativeKoa {
  return (ctx) => {
    ctx.status = status;
  };
}

function messageOf(status: number, message: string): NativeKoa {
  return (ctx) => {
    ctx.status = status;
    ctx.message = message;
  };
}

function typeOf(type: string): NativeKoa {
  return (ctx) => {
    ctx.type = type;
  };
}

function lengthOf(length: number): NativeKoa {
  return (ctx) => {
    ctx.length = length;
  };
}

function attachmentOf(name: string): NativeKoa {
  return (ctx) => ctx.attachment(name);
}

function failWith(properties: object): never {
  throw Object.assign(NO_LUCK(), properties);
}

function shimOf(name: string, Koa: typeof Koa3, answersOfIt: readonly NativeCase[]): HttpShim {
  return {
    name,
    answers: answersOfIt,
    failures,
    traits: { keepsErrorAnswers: true, keepsHeaderLines: true },
    header: (ctx: Context, header) => ctx.get(header) || undefined,
    async start(service) {
      const app = new Koa();
      // Koa reports there too that a connection broke, with the layer and without it.
      app.on("error", (error, ctx: Context) => error === ctx.req.socket.errored || service.onError?.(error));
      app.use(async (ctx, next) => {
        const { refuse, headers = {} } = service.before?.((header) => ctx.get(header) || undefined) ?? {};
        ctx.set(headers);
        if (refuse === undefined) await next();
        else ctx.status = refuse;
      });
      if (service.compression === "around") app.use(compress({ threshold: 0 }));
      for (const route of service.routes) addRoute(app, service, route);
      return listen(createServer(app.callback()));
    },
  };
}

function addRoute(
  app: Koa3,
  service: ServiceSpec,
  { path, mount = "", method = "POST", layer = {}, handler }: RouteSpec,
): void {
  const stack: Middleware[] = [];
  if (layer !== false) stack.push(idempotency({ ...service.options, ...layer } as never));
  if (service.compression === "within") stack.push(compress({ threshold: 0 }));
  stack.push("native" in handler ? handler.native : nativeOf(handler));
  const router = new Router(mount === "" ? {} : { prefix: mount });
  router.register(path, [method], stack);
  app.use(router.routes());
}

function nativeOf(handler: Handler): Middleware {
  return async (ctx) => {
    const call = {
      method: ctx.method,
      header: (name: string) => ctx.get(name) || undefined,
      body: () => bodyOf(ctx.req),
      execution: ctx.idempotency,
    };
    say(await handler(call), ctx);
  };
}

function say({ status = 200, headers = {}, json, body = "" }: Reply, ctx: Context): void {
  ctx.status = status;
  for (const [name, value] of Object.entries(headers)) ctx.set(name, value as string | string[]);
  if (json === undefined) ctx.body = typeof body === "string" ? body : bytesOrStream(body);
  else if (typeof json === "object" && json !== null) ctx.body = json;
  else {
    ctx.type = "json";
    ctx.body = JSON.stringify(json);
  }
}

function bytesOrStream(body: Exclude<Reply["body"], string | undefined>): Buffer | Readable {
  return body instanceof Uint8Array ? Buffer.from(body) : Readable.from(body);
}
