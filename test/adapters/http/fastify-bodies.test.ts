import { once } from "node:events";
import { connect } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import compress from "@fastify/compress";
import multipart from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest, preParsingHookHandler, RequestPayload } from "fastify";
import { expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { serve } from "./fastify-service.ts";
import { type HttpClient, problemCode } from "./http-client.ts";
import { expectProblem } from "./suite/expect-problem.ts";
import { bodyOf } from "./suite/samples.ts";

const echo = async ({ body }: FastifyRequest) => ({ body });
const JSON_TYPE = { "Content-Type": "application/json" };

it.each([
  ["a key that comes twice", '{"a":1,"b":2}', '{"a":1,"b":3,"b":2}'],
  ["a number beyond 2^53", '{"id":9007199254740992}', '{"id":9007199254740993}'],
  ["another value", '{"a":1}', '{"a":2}'],
])("tells JSON apart that its parser makes equal or not: %s", async (_what, one, other) => {
  const { client } = await serve((app) => app.post("/", echo));
  const send = (body: string) => client.send({ key: "k", body, headers: JSON_TYPE });
  const first = await send(one);
  expect([first.status, JSON.parse(first.text)]).toEqual([200, { body: JSON.parse(one) }]);
  expect(problemCode(await send(other))).toBe("FINGERPRINT_MISMATCH");
  expect((await send(one)).body).toEqual(first.body);
});

it.each<[string, (app: FastifyInstance) => unknown]>([
  [
    "a parser of texts",
    (app) =>
      app.addContentTypeParser("text/csv", { parseAs: "string" }, async (_request: unknown, body: string) => body),
  ],
  [
    "a parser of bytes",
    (app) => app.addContentTypeParser("*", { parseAs: "buffer" }, async (_request: unknown, body: Buffer) => `${body}`),
  ],
  [
    "a parser of streams",
    (app) => app.addContentTypeParser("*", async (_request: unknown, payload: Readable) => `${await bodyOf(payload)}`),
  ],
  ["no parser", (app) => app.addContentTypeParser("*", (_request, _payload, done) => done(null))],
])("gives %s and the handler what the client has sent", async (_what, addParser) => {
  const { client } = await serve((app) => {
    addParser(app);
    app.post("/", async ({ body, raw }) => ({ text: body ?? `${await bodyOf(raw)}` }));
  });
  const large = "0123456789".repeat(30_000);
  const pieces = [large.slice(0, 1), large.slice(1, 100_000), large.slice(100_000)].map((piece) => Buffer.from(piece));
  const headers = { "Content-Type": "text/csv" };
  const first = await client.sendPieces({ key: "k", headers }, pieces);
  expect([first.status, JSON.parse(first.text).text === large]).toEqual([200, true]);
  const replay = await client.send({ key: "k", body: large, headers });
  expect([replay.headers["idempotent-replayed"], replay.body.equals(first.body)]).toEqual(["true", true]);
  expect(problemCode(await client.send({ key: "k", body: `${large}0`, headers }))).toBe("FINGERPRINT_MISMATCH");
});

const upload = (content: string) =>
  [
    "--edge",
    'Content-Disposition: form-data; name="title"\r\n\r\nlist',
    "--edge",
    `Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n${content}`,
    "--edge--\r\n",
  ].join("\r\n");

it.each<[string, boolean, (request: FastifyRequest) => Promise<unknown>]>([
  ["read in the handler", false, async (request) => `${await (await request.file())?.toBuffer()}`],
  [
    "attached to the body",
    true,
    async ({ body }) => `${await (body as { file: { toBuffer(): Promise<Buffer> } }).file.toBuffer()}`,
  ],
])("takes multipart bodies that are %s", async (_how, attachFieldsToBody, read) => {
  const { client } = await serve(async (app) => {
    await app.register(multipart, { attachFieldsToBody });
    app.post("/", async (request) => ({ content: await read(request) }));
  });
  const send = (content: string) =>
    client.send({ key: "k", body: upload(content), headers: { "Content-Type": "multipart/form-data; boundary=edge" } });
  const first = await send("one");
  expect([first.status, first.text]).toEqual([200, '{"content":"one"}']);
  expect((await send("one")).headers["idempotent-replayed"]).toBe("true");
  expect(problemCode(await send("two"))).toBe("FINGERPRINT_MISMATCH");
});

it("compares a body as it was sent, where a plugin decompresses it for the parsers", async () => {
  const { client } = await serve(async (app) => {
    await app.register(compress);
    app.post("/", echo);
  });
  const send = (value: unknown) =>
    client.send({
      key: "k",
      body: gzipSync(JSON.stringify(value)),
      headers: { ...JSON_TYPE, "Content-Encoding": "gzip" },
    });
  const first = await send({ a: 1 });
  expect([first.status, first.text]).toEqual([200, '{"body":{"a":1}}']);
  expect((await send({ a: 1 })).headers["idempotent-replayed"]).toBe("true");
  expect(problemCode(await send({ a: 2 }))).toBe("FINGERPRINT_MISMATCH");
});

it.each<[string, preParsingHookHandler, string]>([
  [
    "piped the stream on: its bytes",
    (_request, _reply, payload, done) => done(null, decoded(payload.pipe(new PassThrough()))),
    '{"a":1,"a":1,"b":2}',
  ],
  [
    "read the stream: what parsers made of it",
    (_request, _reply, payload, done) =>
      void bodyOf(payload as Readable).then((body) => done(null, decoded(Readable.from([body])))),
    '{"a":1,"b":3}',
  ],
])("compares, where an earlier plugin has %s", async (_what, take, other) => {
  const { client } = await serve((app) => app.post("/", echo), { before: (app) => app.addHook("preParsing", take) });
  const send = (body: string) => client.send({ key: "k", body, headers: JSON_TYPE });
  expect((await send('{"a":1,"b":2}')).text).toBe('{"body":{"a":1,"b":2}}');
  expect((await send('{"b":2,"a":1}')).headers["idempotent-replayed"]).toBe("true");
  expect(problemCode(await send(other))).toBe("FINGERPRINT_MISMATCH");
});

it("compares the raw body that an earlier plugin keeps for others", async () => {
  const { client } = await serve((app) => app.post("/", echo), {
    before: (app) =>
      app.addHook("preParsing", async (request, _reply, payload) => {
        const rawBody = await bodyOf(payload as Readable);
        Object.assign(request, { rawBody });
        return decoded(Readable.from([rawBody]));
      }),
  });
  const send = (body: string) => client.send({ key: "k", body, headers: JSON_TYPE });
  expect((await send('{"a":1}')).status).toBe(200);
  expect(problemCode(await send('{"a":1,"a":1}'))).toBe("FINGERPRINT_MISMATCH");
});

it("shows every byte once to an earlier plugin that listens to the stream", async () => {
  const heard: string[] = [];
  const { client } = await serve((app) => app.post("/", echo), {
    before: (app) =>
      app.addHook("preParsing", (request, _reply, payload, done) => {
        request.raw.on("data", (chunk) => heard.push(`${chunk}`));
        done(null, payload);
      }),
  });
  expect((await client.send({ key: "k", body: { a: 1 } })).text).toBe('{"body":{"a":1}}');
  expect(heard.join("")).toBe('{"a":1}');
});

it("leaves its own limits and errors to Fastify, and the connection usable", async () => {
  const { client, events } = await serve((app) => {
    app.post("/", { bodyLimit: 100 }, echo);
    app.post("/plain", { bodyLimit: 100, config: { idempotency: false } }, echo);
  });
  const long = Buffer.from(JSON.stringify({ a: "x".repeat(1_000) }));
  const pieces = [long.subarray(0, 50), long.subarray(50, 500), long.subarray(500)];
  const all = (path: string) =>
    Promise.all([
      client.send({ path, key: "k", body: long, headers: JSON_TYPE }),
      client.sendPieces({ path, key: "k", headers: JSON_TYPE }, pieces),
      client.send({ path, key: "k", body: "{", headers: JSON_TYPE }),
      client.send({ path, key: "k", body: "", headers: JSON_TYPE }),
      client.send({ path, key: "k", body: "a", headers: { "Content-Type": "text/csv" } }),
      client.send({ path, key: "k", body: Buffer.alloc(300_000), headers: { "Content-Type": "text/csv" } }),
      client.send({ path, key: "k", body: "a", headers: { "Content-Type": "no type" } }),
    ]);
  const seen = (await all("/")).map(({ status, text, headers }) => [status, text, headers.connection]);
  const plain = (await all("/plain")).map(({ status, text, headers }) => [status, text, headers.connection]);
  expect(seen.map(([status]) => status)).toEqual([413, 413, 400, 400, 415, 415, 415]);
  expect(seen).toEqual(plain);
  expect(events).toEqual([]);
  expect((await client.send({ key: "k", body: { a: 1 } })).status).toBe(200);
});

const KNOWN = { Authorization: "Bearer alice" };

it.each<
  [string, (client: HttpClient, body: Buffer, headers: Record<string, string>) => ReturnType<HttpClient["send"]>]
>([
  ["announced", (client, body, headers) => client.send({ key: "k", body, headers })],
  [
    "in pieces",
    (client, body, headers) =>
      client.sendPieces({ key: "k", headers }, [
        body.subarray(0, 10),
        body.subarray(10, 70_000),
        body.subarray(70_000),
      ]),
  ],
])("refuses a body over maxRequestBytes with 413, after authentication: %s", async (_how, send) => {
  let runs = 0;
  const { client, events } = await serve(
    async (app) => {
      await app.register(multipart);
      app.addHook("preHandler", async ({ headers }, reply: FastifyReply) => {
        if (headers.authorization === undefined) return reply.code(401).send();
      });
      app.post("/", async () => ++runs);
    },
    { options: { maxRequestBytes: 50_000 } },
  );
  const body = Buffer.from(JSON.stringify("x".repeat(300_000)));
  for (const type of ["application/json", "multipart/form-data; boundary=edge"]) {
    expect((await send(client, body, { "Content-Type": type })).status).toBe(401);
    expectProblem(await send(client, body, { ...KNOWN, "Content-Type": type }), 413, "REQUEST_TOO_LARGE", false);
  }
  expect([runs, events]).toEqual([0, []]);
  expect((await client.send({ key: "k", body: "1", headers: { ...KNOWN, ...JSON_TYPE } })).text).toBe("1");
});

it("runs nothing for a client that leaves in the middle of its body, and tells no error", async () => {
  let runs = 0;
  let aborted = 0;
  const errors: unknown[] = [];
  const { client, events, port } = await serve((app) => {
    app.addHook("onRequestAbort", (_request, done) => {
      aborted++;
      done();
    });
    app.setErrorHandler((error, _request, reply) => {
      errors.push(error);
      reply.send(error);
    });
    app.post("/", async () => ++runs);
  });
  const socket = connect(port, "127.0.0.1");
  socket.write(
    `POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a":`,
  );
  await once(socket, "ready");
  socket.destroy();
  await eventually(() => aborted).toBe(1);
  expect([runs, events, errors]).toEqual([0, [], []]);
  expect((await client.send({ key: "k", body: { a: 1 } })).text).toBe("1");
});

it("does not read ahead where it is told what counts", async () => {
  const { client } = await serve(
    (app) => {
      app.addContentTypeParser("*", (_request, _payload, done) => done(null));
      app.post("/", async ({ raw }) => ({ unread: !raw.readableDidRead, text: `${await bodyOf(raw)}` }));
    },
    { options: { fingerprint: () => "same" } },
  );
  const send = (body: string) => client.send({ key: "k", body, headers: { "Content-Type": "text/csv" } });
  expect((await send("one")).text).toBe('{"unread":true,"text":"one"}');
  expect((await send("two")).headers["idempotent-replayed"]).toBe("true");
});

/** As Fastify wants streams that take the place of the request's. */
function decoded(stream: Readable): RequestPayload {
  return Object.assign(stream, { receivedEncodedLength: 0 });
}
