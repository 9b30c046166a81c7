import type { ClientRequest, IncomingMessage } from "node:http";
import express from "express";
import { describe, expect, it } from "vitest";
import { serve as serveExpress } from "./express-service.ts";
import { serve as serveFastify } from "./fastify-service.ts";
import { type Answer, type HttpClient, problemCode, type Sending } from "./http-client.ts";
import { KOAS, type KoaClass, serve as serveKoa } from "./koa-service.ts";

/** Has a server read bodies in its handler at `/raw`, and by a parser of its framework at `/parsed` where it has one. */
type Start = (before: (req: IncomingMessage) => void) => Promise<HttpClient>;

const onExpress: Start = async (before) => {
  const { client } = await serveExpress(({ app, layer }) => {
    app.use((req, _res, next) => {
      before(req);
      next();
    }, layer());
    app.post("/raw", async (req, res) => void res.json({ text: await textOf(req) }));
    app.post("/parsed", express.text({ type: "*/*" }), (req, res) => void res.json({ text: req.body }));
  });
  return client;
};

const onKoa = (Koa: KoaClass): Start => {
  return async (before) => {
    const { client } = await serveKoa(Koa, ({ app, layer }) => {
      app.use((ctx, next) => {
        before(ctx.req);
        return next();
      });
      app.use(layer());
      app.use(async (ctx) => {
        ctx.body = { text: await textOf(ctx.req) };
      });
    });
    return client;
  };
};

const onFastify: Start = async (before) => {
  const { client } = await serveFastify(
    (app) => {
      app.removeAllContentTypeParsers();
      app.post("/raw", async ({ raw }) => ({ text: await textOf(raw) }));
      app.addContentTypeParser("text/raw", (_request, _payload, done) => done(null));
      app.addContentTypeParser("text/parsed", { parseAs: "string" }, async (_request: unknown, body: string) => body);
      app.post("/parsed", async ({ body }) => ({ text: body }));
    },
    {
      before: (app) => {
        app.addHook("onRequest", ({ raw }, _reply, done) => {
          before(raw);
          done();
        });
      },
    },
  );
  return client;
};

const WAYS: readonly [string, Record<string, string>, (sent: ClientRequest) => unknown][] = [
  ["in the packet of its head", {}, (sent) => sent.end()],
  [
    "after its head",
    {},
    (sent) => {
      sent.flushHeaders();
      setImmediate(() => sent.end());
    },
  ],
  [
    "with trailers",
    { Trailer: "X-Sum" },
    (sent) => {
      sent.addTrailers({ "X-Sum": "0" });
      sent.end();
    },
  ],
  ["after 100 Continue", { Expect: "100-continue" }, (sent) => sent.once("continue", () => sent.end())],
  ["without waiting for 100 Continue", { Expect: "100-continue" }, (sent) => sent.end()],
];

describe.each<[string, Start, readonly string[]]>([
  ["Express 5", onExpress, ["raw", "parsed"]],
  ...KOAS.map(([name, Koa]): [string, Start, string[]] => [name, onKoa(Koa), ["raw"]]),
  ["Fastify 5", onFastify, ["raw", "parsed"]],
])("an empty body that is sent in chunks to %s", (_name, start, paths) => {
  describe.each<[string, (req: IncomingMessage) => void]>([
    ["read first by them", () => {}],
    ["listened to before", (req) => req.on("data", () => {})],
  ])("%s", (_where, before) => {
    it.each(WAYS)("reaches handlers and parsers when it ends %s", async (_when, headers, end) => {
      const client = await start(before);
      for (const path of paths) {
        const sending = { path: `/${path}`, key: "k", headers: { "Content-Type": `text/${path}`, ...headers } };
        const first = await sendChunked(client, sending, end);
        expect([first.status, first.text]).toEqual([200, '{"text":""}']);
        const replay = await sendChunked(client, sending, end);
        expect([replay.headers["idempotent-replayed"], replay.text]).toEqual(["true", first.text]);
        const other = await sendChunked(client, sending, (sent) => sent.end("x"));
        expect(problemCode(other)).toBe("FINGERPRINT_MISMATCH");
      }
    });
  });
});

/** As parsers read: from a stream whose end was told before, it never comes. */
function textOf(req: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    req.on("data", (chunk) => {
      text += chunk;
    });
    req.on("end", () => resolve(text));
    req.on("error", reject);
  });
}

/** Sends a body in chunks, of which there are none but those that `end` writes. */
function sendChunked(client: HttpClient, sending: Sending, end: (sent: ClientRequest) => unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { "Transfer-Encoding": "chunked", ...sending.headers };
    const sent = client.open({ ...sending, headers }, resolve);
    sent.on("error", reject);
    end(sent);
  });
}
