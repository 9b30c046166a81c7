import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gzipSync } from "node:zlib";
import compression from "compression";
import express5, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from "express";
import { idempotency } from "../../../../adapters/http/express.ts";
import type { Handler, HttpShim, NativeCase, Reply, RouteSpec, ServiceSpec } from "./http-shim.ts";
import { ALL_BYTES, bodyOf, HERE, lines, NO_LUCK } from "./samples.ts";
import { listen } from "./servers.ts";

const express4: typeof express5 = createRequire(import.meta.url)("express4");

const answers = [
  ["json of an object", (_req, res) => res.json({ a: [1, "ü"] })],
  ["json(0)", (_req, res) => res.json(0)],
  ["json(false)", (_req, res) => res.json(false)],
  ["json(null)", (_req, res) => res.json(null)],
  ["a text", (_req, res) => res.type("text").send("grüße")],
  ["an empty text", (_req, res) => res.send("")],
  ["an empty 200", (_req, res) => res.end()],
  ["all 256 byte values", (_req, res) => res.type("bin").send(ALL_BYTES)],
  [
    "201 with Location, ETag and headers of its own",
    (_req, res) => res.status(201).location("/x").set("ETag", '"v1"').set("X-Own", "1").json({ id: 1 }),
  ],
  ["204", (_req, res) => res.status(204).end()],
  ["sendStatus(204)", (_req, res) => res.sendStatus(204)],
  ["205", (_req, res) => res.status(205).end()],
  ["304", (_req, res) => res.status(304).set("ETag", '"v1"').end()],
  ["a redirect", (_req, res) => res.redirect(303, "/elsewhere")],
  ["end with a latin1 text", (_req, res) => res.end("fa\u00e7ade", "latin1")],
  [
    "write and end",
    (_req, res) => {
      res.write("one ");
      res.write(Buffer.from("two "));
      res.end("three");
    },
  ],
  [
    "writeHead with an object",
    (_req, res) => res.writeHead(202, { "X-A": "1", "Content-Type": "text/plain" }).end("x"),
  ],
  [
    "writeHead with a reason and a list",
    (_req, res) => {
      res.writeHead(202, "Fine", ["X-A", "1", "X-B", "2", "Content-Length", "4"] as never);
      res.end("done");
    },
  ],
  [
    "pieces with a Content-Length",
    (_req, res) => {
      res.set("Content-Length", "6");
      res.write("abc");
      res.write("def", () => res.end());
    },
  ],
  [
    "flushed headers",
    (_req, res) => {
      res.type("text").flushHeaders();
      res.write("x");
      res.end();
    },
  ],
  [
    "flushed headers with Content-Length 0",
    (_req, res) => {
      res.set("Content-Length", "0").flushHeaders();
      res.end();
    },
  ],
  ["a pipe", (_req, res) => Readable.from(["a", "b", "c"]).pipe(res.type("text"))],
  ["a web stream", (_req, res) => pipeline(Readable.fromWeb(new Blob(["of ", "the web"]).stream() as never), res)],
  ["an async generator", (_req, res) => pipeline(Readable.from(lines()), res)],
  ["sendFile", (_req, res) => res.sendFile(HERE)],
  ["an encoded body", (_req, res) => res.set("Content-Encoding", "gzip").type("text").send(gzipSync("squeezed"))],
  [
    "repeated headers",
    (_req, res) => {
      res
        .append("Link", "<a>; rel=x")
        .append("Link", "<b>; rel=y")
        .set("Warning", ["1 - a", "2 - b"] as never);
      res.send("x");
    },
  ],
] satisfies (readonly [string, (req: Request, res: Response) => unknown])[];

const failures = [
  [
    "throws",
    () => {
      throw NO_LUCK();
    },
  ],
  ["calls next with an error", (_req, _res, next) => next(NO_LUCK())],
  [
    "calls next with an error of a status",
    (_req, _res, next) => next(Object.assign(NO_LUCK(), { status: 418, expose: true })),
  ],
] satisfies (readonly [string, RequestHandler])[];

/** Only Express 5 takes promises. */
const failuresOf5: readonly NativeCase[] = [["rejects", () => Promise.reject(NO_LUCK())]];

export const express5Shim = shimOf("Express 5", express5, [...failures, ...failuresOf5]);
export const express4Shim = shimOf("Express 4", express4, failures);

function shimOf(name: string, express: typeof express5, failuresOfIt: readonly NativeCase[]): HttpShim {
  return {
    name,
    answers,
    failures: failuresOfIt,
    traits: { keepsErrorAnswers: true, keepsHeaderLines: true },
    header: (request: Request, header) => request.get(header),
    async start(service) {
      const app = express();
      // Express prints the errors that its own handler answers, unless it runs under test.
      app.set("env", "test");
      app.use((req, res, next) => {
        const { refuse, headers = {} } = service.before?.((header) => req.get(header)) ?? {};
        res.set(headers);
        if (refuse === undefined) next();
        else res.sendStatus(refuse);
      });
      if (service.compression === "around") app.use(compression({ threshold: 0 }));
      for (const route of service.routes) addRoute(express, app, service, route);
      app.use(((error, _req, _res, next) => {
        service.onError?.(error);
        next(error);
      }) satisfies ErrorRequestHandler);
      return listen(createServer(app));
    },
  };
}

function addRoute(
  express: typeof express5,
  app: ReturnType<typeof express5>,
  service: ServiceSpec,
  { path, mount = "", method = "POST", layer = {}, handler }: RouteSpec,
): void {
  const router = express.Router();
  const stack: RequestHandler[] = [];
  if (layer !== false) stack.push(idempotency({ ...service.options, ...layer } as never));
  if (service.compression === "within") stack.push(compression({ threshold: 0 }));
  stack.push("native" in handler ? handler.native : nativeOf(handler));
  router[method.toLowerCase() as "post"](path, ...stack);
  app.use(mount === "" ? "/" : mount, router);
}

function nativeOf(handler: Handler): RequestHandler {
  return async (req, res, next) => {
    try {
      const call = {
        method: req.method,
        header: (name: string) => req.get(name),
        body: () => bodyOf(req),
        execution: req.idempotency,
      };
      await say(await handler(call), res);
    } catch (error) {
      next(error);
    }
  };
}

async function say({ status = 200, headers = {}, json, body }: Reply, res: Response): Promise<void> {
  res.status(status);
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value as string);
  if (json !== undefined) res.json(json);
  else if (body === undefined) res.end();
  else if (typeof body === "string" || body instanceof Uint8Array)
    res.send(body instanceof Uint8Array ? Buffer.from(body) : body);
  else await pipeline(Readable.from(body), res);
}
