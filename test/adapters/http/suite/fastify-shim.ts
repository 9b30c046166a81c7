import { createReadStream } from "node:fs";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import compress from "@fastify/compress";
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteHandlerMethod,
} from "fastify";
import { idempotency } from "../../../../adapters/http/fastify.ts";
import type { Handler, HttpShim, Reply, RouteSpec, RunningServer } from "./http-shim.ts";
import { ALL_BYTES, bodyOf, HERE, lines, NO_LUCK } from "./samples.ts";

type NativeFastify = (request: FastifyRequest, reply: FastifyReply) => unknown;

const SCHEMA_SERIALIZED = '{"a":1}';

const answers = [
  ["a returned object", async () => ({ a: [1, "ü"] })],
  ["an object returned without a promise", () => ({ a: 1 })],
  ["a returned text", async () => "grüße"],
  ["an empty text", async () => ""],
  ["returned bytes", async () => ALL_BYTES],
  ["a typed array", async () => new Uint16Array([1, 2])],
  ["null", async () => null],
  ["null as JSON", async (_request, reply) => reply.type("application/json").send(null)],
  ["0", async () => 0],
  ["false", async () => false],
  ["an empty 200", async () => undefined],
  ["a status alone", async (_request, reply) => void reply.code(202)],
  ["all 256 byte values", (_request, reply) => reply.type("application/octet-stream").send(ALL_BYTES)],
  ["reply.send in a callback", (_request, reply) => void setImmediate(() => reply.send({ late: true }))],
  [
    "reply.send in a callback, and the reply returned",
    async (_request, reply) => {
      setImmediate(() => reply.send({ late: true }));
      return reply;
    },
  ],
  ["a returned reply", async (_request, reply) => reply.send({ a: 1 })],
  ["a reply returned without a promise", (_request, reply) => reply.send({ a: 1 })],
  ["reply.send() without anything", (_request, reply) => reply.send()],
  ["a text of a type of its own", (_request, reply) => reply.type("text/csv").send("a,b")],
  ["a serializer of its own", (_request, reply) => reply.serializer(() => SCHEMA_SERIALIZED).send({})],
  [
    "201 with Location, ETag and headers of its own",
    async (_request, reply) => {
      reply.code(201).headers({ Location: "/x", ETag: '"v1"', "X-Own": "1" });
      return { id: 1 };
    },
  ],
  ["204", (_request, reply) => reply.code(204).send()],
  ["204 by its status alone", async (_request, reply) => void reply.code(204)],
  ["205", (_request, reply) => reply.code(205).send()],
  ["304", (_request, reply) => reply.code(304).header("ETag", '"v1"').send()],
  ["a redirect", (_request, reply) => reply.redirect("/elsewhere")],
  ["a redirect with a status", (_request, reply) => reply.redirect("/elsewhere", 303)],
  ["a stream", (_request, reply) => reply.type("text/plain").send(Readable.from(["a", "b", "c"]))],
  ["a returned stream", async () => Readable.from(["a", "b", "c"])],
  ["an empty stream", async () => Readable.from([])],
  [
    "a stream of a known length",
    (_request, reply) =>
      reply.header("Content-Length", "6").send(Readable.from([Buffer.from("abc"), Buffer.from("def")])),
  ],
  ["an async generator", (_request, reply) => reply.type("text/plain").send(Readable.from(lines()))],
  ["a file", (_request, reply) => reply.type("text/plain").send(createReadStream(HERE))],
  ["a web stream", (_request, reply) => reply.type("text/plain").send(new Blob(["of ", "the web"]).stream())],
  [
    "a response",
    async () =>
      new Response("made", { status: 201, headers: { "Content-Type": "text/plain", "X-Own": "1", ETag: '"v"' } }),
  ],
  ["a response without a body", async () => new Response(null, { status: 204, headers: { "X-Own": "1" } })],
  ["a JSON response", async () => Response.json({ a: 1 })],
  [
    "an encoded body",
    (_request, reply) => reply.header("Content-Encoding", "gzip").type("text/plain").send(gzipSync("squeezed")),
  ],
  [
    "repeated headers",
    (_request, reply) =>
      reply.header("Link", ["<a>; rel=x", "<b>; rel=y"]).header("Warning", ["1 - a", "2 - b"]).send("x"),
  ],
  [
    "a hijacked reply, write and end",
    async (_request, reply) => {
      reply.hijack();
      reply.raw.write("one ");
      reply.raw.write(Buffer.from("two "));
      reply.raw.end("three");
    },
  ],
  [
    "a hijacked reply and writeHead, later",
    (_request, reply) => {
      reply.hijack();
      setImmediate(() => reply.raw.writeHead(202, { "X-A": "1", "Content-Type": "text/plain" }).end("x"));
    },
  ],
  [
    "a raw end, with Fastify left to answer",
    async (_request, reply) => {
      reply.raw.end("done");
      return reply;
    },
  ],
] satisfies (readonly [string, NativeFastify])[];

const failures = [
  ["throws before its first await", () => failWith({})],
  ["throws", async () => failWith({})],
  ["rejects", () => Promise.reject(NO_LUCK())],
  ["sends an error", (_request, reply) => reply.send(NO_LUCK())],
  ["sends an error with a status", (_request, reply) => reply.code(422).send(NO_LUCK())],
  ["sends an error in a callback", (_request, reply) => void setImmediate(() => reply.send(NO_LUCK()))],
  ["returns an error", async () => NO_LUCK()],
  ["throws an error with a statusCode", async () => failWith({ statusCode: 418 })],
  ["throws an error with headers", async () => failWith({ statusCode: 503, headers: { "Retry-After": "7" } })],
  ["throws what is no error", () => Promise.reject({ statusCode: 400, message: "no luck" })],
  [
    "throws after it has set status, type and headers",
    async (_request, reply) => {
      reply.code(201).type("text/plain").header("X-Own", "1");
      throw NO_LUCK();
    },
  ],
  ["answers with what has no JSON", async () => ({ big: 1n })],
  ["answers with a stream that fails before its first piece", async () => Readable.from(failing())],
  ["answers with a web stream that fails before its first piece", async () => Readable.toWeb(Readable.from(failing()))],
] satisfies (readonly [string, NativeFastify])[];

export const fastifyShim: HttpShim = {
  name: "Fastify 5",
  answers,
  failures,
  traits: { keepsErrorAnswers: true, keepsHeaderLines: true },
  header: ({ headers }: FastifyRequest, name) => headers[name.toLowerCase()]?.toString(),
  async start(service) {
    const app = Fastify();
    // The bodies of the suite are of every type, and its handlers want the bytes.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    app.setErrorHandler((error, _request, reply) => {
      service.onError?.(error);
      reply.send(error);
    });
    app.addHook("onRequest", async (request, reply) => {
      const { refuse, headers = {} } = service.before?.((name) => request.headers[name]?.toString()) ?? {};
      reply.headers(headers);
      if (refuse !== undefined) return reply.code(refuse).send();
    });
    if (service.compression === "around") await app.register(compress, { threshold: 0 });
    await app.register(idempotency, service.options as never);
    if (service.compression === "within") await app.register(compress, { threshold: 0 });
    for (const route of service.routes) await addRoute(app, route);
    return listening(app);
  },
};

function failWith(properties: object): never {
  throw Object.assign(NO_LUCK(), properties);
}

// biome-ignore lint/correctness/useYield: that it has none is the point.
async function* failing(): AsyncGenerator<string> {
  throw NO_LUCK();
}

async function listening(app: FastifyInstance): Promise<RunningServer> {
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  return { port, stop: () => app.close() };
}

async function addRoute(
  app: FastifyInstance,
  { path: url, mount: prefix = "", method = "POST", layer = {}, handler }: RouteSpec,
): Promise<void> {
  await app.register(
    async (child) => {
      child.route({
        url,
        method,
        config: { idempotency: layer as never },
        handler: "native" in handler ? handler.native : nativeOf(handler),
      });
    },
    { prefix },
  );
}

function nativeOf(handler: Handler): RouteHandlerMethod {
  return async (request, reply) => {
    const answer = await handler({
      method: request.method,
      header: (name) => request.headers[name.toLowerCase()]?.toString(),
      body: () => bodyOf(request.raw),
      execution: request.idempotency,
    });
    return say(answer, reply);
  };
}

function say({ status = 200, headers = {}, json, body }: Reply, reply: FastifyReply): FastifyReply {
  reply.code(status).headers(headers as Record<string, string>);
  if (json === undefined) return reply.send(isPieces(body) ? Readable.from(body) : body);
  if (typeof json === "string" || json === null) return reply.type("application/json").send(JSON.stringify(json));
  return reply.send(json);
}

function isPieces(body: Reply["body"]): body is AsyncIterable<string | Uint8Array> {
  return typeof body === "object" && Symbol.asyncIterator in body;
}
