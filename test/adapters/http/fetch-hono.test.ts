import { createServer, type ServerResponse } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { describe, expect, it, onTestFinished } from "vitest";
import { executionOf, type HttpOptions, idempotency, idempotent } from "../../../adapters/http/fetch.ts";
import { eventually } from "./eventually.ts";
import { codeOf, handlers, piece, request, seen } from "./fetch-service.ts";
import { HttpClient, problem } from "./http-client.ts";
import { listen } from "./suite/servers.ts";

type Env = { Variables: { account: string } };

/** An application over one ledger. */
function service(...outer: MiddlewareHandler<Env>[]) {
  const ledger = handlers();
  const layer = (options: Partial<HttpOptions<Context<Env>>> = {}) =>
    idempotency({ store: ledger.store, scope: () => "", ...options });
  const app = new Hono<Env>();
  for (const middleware of outer) app.use(middleware);
  return { ...ledger, app, layer };
}

describe("the layer as Hono middleware", () => {
  it("stands after authentication, and asks its context whose key it is", async () => {
    const { app, layer } = service(async (c, next) => {
      const account = c.req.header("x-account");
      if (account === undefined) return c.text("who?", 401);
      c.set("account", account);
      return next();
    });
    app.use(layer({ scope: (c) => c.get("account") }));
    let runs = 0;
    app.post("/orders", (c) => c.json([c.get("account"), ++runs, executionOf(c)?.scope, executionOf(c.req.raw)?.key]));
    const as = async (account: string) => seen(await app.request(request({ headers: { "X-Account": account } })));
    expect(await as("a")).toEqual([200, '["a",1,"a","k"]', null]);
    expect(await as("b")).toEqual([200, '["b",2,"b","k"]', null]);
    expect(await as("a")).toEqual([200, '["a",1,"a","k"]', "true"]);
    expect((await app.request(request())).status).toBe(401);
  });

  it("lets what is not its business through as if it weren't there", async () => {
    const { app, layer, storeCalls } = service();
    app.use(layer());
    app.get("/orders", (c) => c.json(executionOf(c) ?? "none"));
    app.post("/orders", (c) => c.json(executionOf(c) ?? "none"));
    expect(await (await app.request("/orders")).json()).toBe("none");
    expect(await (await app.request("/orders", { method: "POST" })).json()).toBe("none");
    expect((await app.request("/nowhere", { method: "POST" })).status).toBe(404);
    expect(storeCalls).toEqual({});
  });

  it("replays to a route of its own, on a router and under a prefix, and tells them apart", async () => {
    const { app, layer } = service();
    let runs = 0;
    for (const prefix of ["/a", "/b"]) {
      const router = new Hono<Env>();
      router.post("/orders", layer() as MiddlewareHandler<Env>, (c) => c.json(++runs));
      app.route(prefix, router);
    }
    for (const replayed of [null, "true"]) {
      expect(await seen(await app.request(request({ path: "/a/orders" })))).toEqual([200, "1", replayed]);
      expect(await seen(await app.request(request({ path: "/b/orders" })))).toEqual([200, "2", replayed]);
    }
  });

  it.each<[string, MiddlewareHandler<Env>]>([
    [
      "before the handler",
      async (c, next) => {
        c.header("X-Outer", c.req.header("x-turn"));
        await next();
      },
    ],
    [
      "on the response that is to come",
      async (c, next) => {
        c.res.headers.set("X-Outer", c.req.header("x-turn") ?? "");
        await next();
      },
    ],
    [
      "after the handler",
      async (c, next) => {
        await next();
        c.header("X-Outer", c.req.header("x-turn"));
      },
    ],
  ])(
    "leaves headers to outer middleware that sets them %s: on every answer, once, its own of today",
    async (_when, outer) => {
      const { app, layer } = service(outer);
      app.use(layer({ required: true }));
      app.post("/orders", (c) => c.json(1));
      for (const [turn, sent] of [request(), request(), new Request(request(), { headers: {} })].entries()) {
        sent.headers.set("X-Turn", `${turn}`);
        const answer = await app.request(sent);
        expect(answer.headers.get("x-outer")).toBe(`${turn}`);
        expect(answer.status).toBe(turn === 2 ? 400 : 200);
      }
    },
  );

  it("sends the cookies of outer middleware once, beside those that were kept", async () => {
    let turn = 0;
    const { app, layer } = service(async (c, next) => {
      turn += 1;
      c.header("Set-Cookie", turn === 2 ? "session=2" : "session=1", { append: true });
      await next();
    });
    app.use(layer({ setCookie: "replay" }));
    app.post("/orders", (c) => {
      c.header("Set-Cookie", "cart=1", { append: true });
      return c.json(1);
    });
    for (const session of ["session=1", "session=2", "session=1"]) {
      const answer = await app.request(request());
      expect(answer.headers.getSetCookie()).toEqual([session, "cart=1"]);
    }
  });

  it("has the headers of CORS on replays and problems, without which browsers hide them", async () => {
    const { app, layer } = service(cors({ origin: "https://shop.example" }) as MiddlewareHandler<Env>);
    app.use(layer());
    app.post("/orders", (c) => c.json(1));
    for (const path of ["/orders", "/orders", "/orders?other"]) {
      const answer = await app.request(request({ path, headers: { Origin: "https://shop.example" } }));
      expect(answer.headers.get("access-control-allow-origin")).toBe("https://shop.example");
      expect(answer.headers.get("vary")).toBe("Origin");
    }
  });

  it("leaves the headers of a handler as Hono would", async () => {
    const { app, layer } = service(async (c, next) => {
      c.header("X-Both", "outer");
      c.header("X-Gone", "outer");
      await next();
    });
    app.post("/layered/orders", layer() as MiddlewareHandler<Env>, (c) => answer(c));
    app.post("/orders", (c) => answer(c));
    const answer = (c: Context) => {
      c.header("X-Gone", undefined);
      return c.json(1, 200, { "X-Both": "handler" });
    };
    for (const path of ["/orders", "/layered/orders", "/layered/orders"]) {
      const { headers } = await app.request(request({ path }));
      expect([headers.get("x-both"), headers.get("x-gone")]).toEqual(["handler", null]);
    }
  });

  it("gives errors to app.onError once, and keeps its answer where everything is kept", async () => {
    const { app, layer } = service();
    const errors: unknown[] = [];
    const thrown = new Error("no luck");
    app.onError((error, c) => {
      errors.push(error);
      return c.json({ failed: true }, 500);
    });
    const fail = (): never => {
      throw thrown;
    };
    app.post("/orders", layer() as MiddlewareHandler<Env>, fail);
    app.post("/kept", layer({ record: "all" }) as MiddlewareHandler<Env>, fail);
    for (const [path, replays] of [
      ["/orders", [null, null]],
      ["/kept", [null, "true"]],
    ] as const) {
      for (const replayed of replays) {
        expect(await seen(await app.request(request({ path })))).toEqual([500, '{"failed":true}', replayed]);
      }
    }
    expect(errors).toEqual([thrown, thrown, thrown]);
    expect(errors[0]).toBe(thrown);
  });

  it("gives what scope throws to app.onError", async () => {
    const { app, layer } = service();
    const thrown = new Error("who?");
    app.onError((error, c) => c.json(error === thrown, 403));
    app.use(
      layer({
        scope: () => {
          throw thrown;
        },
      }),
    );
    app.post("/orders", (c) => c.json(1));
    expect(await seen(await app.request(request()))).toEqual([403, "true", null]);
  });
});

describe("a body that Hono has read before the layer", () => {
  const form = (text: string): FormData => {
    const fields = new FormData();
    fields.set("a", "1");
    fields.set("file", new Blob([text], { type: "text/plain" }), "a.txt");
    return fields;
  };
  const json = { headers: { "Content-Type": "application/json" } };

  it.each<[string, (c: Context) => Promise<unknown>, object, object, object]>([
    [
      "as JSON",
      (c) => c.req.json(),
      { ...json, body: '{"a":1,"b":2}' },
      { ...json, body: '{"b": 2, "a": 1}' },
      { ...json, body: '{"a":1}' },
    ],
    ["as text", (c) => c.req.text(), { body: "a" }, { body: "a" }, { body: "b" }],
    ["as bytes", (c) => c.req.arrayBuffer(), { body: "a" }, { body: "a" }, { body: "b" }],
    ["as a form with a file", (c) => c.req.parseBody(), { body: form("x") }, { body: form("x") }, { body: form("y") }],
    [
      "as an urlencoded form",
      (c) => c.req.parseBody(),
      { body: new URLSearchParams({ a: "1" }) },
      { body: new URLSearchParams({ a: "1" }) },
      { body: new URLSearchParams({ a: "2" }) },
    ],
  ])("is compared all the same, and the handler reads it again: %s", async (_as, read, first, same, other) => {
    const { app, layer } = service(async (c, next) => {
      await read(c);
      await next();
    });
    app.use(layer());
    let runs = 0;
    app.post("/orders", async (c) => {
      await read(c);
      return c.json(++runs);
    });
    const sent = async (init: object) => app.request(request(init));
    expect(await seen(await sent(first))).toEqual([200, "1", null]);
    expect(await seen(await sent(same))).toEqual([200, "1", "true"]);
    expect(await codeOf(await sent(other))).toBe("FINGERPRINT_MISMATCH");
  });

  it("is refused where it was read past Hono, and nothing is left of it", async () => {
    const { app, layer } = service(async (c, next) => {
      await c.req.raw.text();
      await next();
    });
    app.use(layer());
    app.post("/orders", () => expect.unreachable());
    expect(await codeOf(await app.request(request({ body: "a" })))).toBe("INVALID_FINGERPRINT");
  });

  it("is refused by a limit that stands before the layer", async () => {
    const { app, layer, storeCalls } = service(bodyLimit({ maxSize: 10 }) as MiddlewareHandler<Env>);
    app.use(layer());
    app.post("/orders", () => expect.unreachable());
    const body = ReadableStream.from([new Uint8Array(8), new Uint8Array(8)]) as never;
    const answer = await app.request(request({ body, duplex: "half" }));
    expect([answer.status, storeCalls]).toEqual([413, {}]);
  });
});

describe("a plain handler in and around Hono", () => {
  it("wraps a whole application; its handlers find the execution by their raw request", async () => {
    const { wrap } = handlers();
    const app = new Hono();
    app.post("/orders", async (c) => c.json([executionOf(c.req.raw)?.key, await c.req.text()]));
    const serve = wrap((sent: Request) => app.fetch(sent));
    expect(await seen(await serve(request({ body: "x" })))).toEqual([200, '["k","x"]', null]);
    expect(await seen(await serve(request({ body: "x" })))).toEqual([200, '["k","x"]', "true"]);
  });

  it("serves one route", async () => {
    const { wrap } = handlers();
    const order = wrap((sent: Request, id: string) => Response.json([id, executionOf(sent)?.key]));
    const app = new Hono();
    app.post("/orders/:id", (c) => order(c.req.raw, c.req.param("id")));
    const ask = async (id: string) => seen(await app.request(request({ path: `/orders/${id}` })));
    expect(await ask("1")).toEqual([200, '["1","k"]', null]);
    expect(await ask("1")).toEqual([200, '["1","k"]', "true"]);
    expect(await ask("2")).toEqual([200, '["2","k"]', null]);
  });

  it("is mounted under its whole path where Hono leaves the request alone", async () => {
    const { store } = handlers();
    const app = new Hono();
    let runs = 0;
    for (const prefix of ["/a", "/b"]) {
      const handler = idempotent(() => Response.json(++runs), { store, scope: () => "" });
      app.mount(prefix, handler, { replaceRequest: false });
    }
    expect(await (await app.request(request({ path: "/a/x" }))).json()).toBe(1);
    expect(await (await app.request(request({ path: "/b/x" }))).json()).toBe(2);
    expect(await (await app.request(request({ path: "/a/x" }))).json()).toBe(1);
  });
});

it("does not replay what a handler has written to the socket itself, and does not run it again", async () => {
  const { app, layer } = service();
  let runs = 0;
  app.use(layer());
  app.post("/orders", (c) => {
    runs += 1;
    (c.env as { outgoing: ServerResponse }).outgoing.writeHead(201).end("past it");
    return RESPONSE_ALREADY_SENT;
  });
  const server = await listen(createServer(getRequestListener(app.fetch)));
  const client = new HttpClient(server.port);
  onTestFinished(async () => {
    client.close();
    await server.stop();
  });
  const first = await client.send({ path: "/orders", key: "k" });
  expect([first.status, first.text]).toEqual([201, "past it"]);
  // Nothing could hold the end of that one back.
  const retry = async () => problem(await client.send({ path: "/orders", key: "k" }))["code"];
  await eventually(retry).toBe("RESULT_NOT_REPLAYABLE");
  expect(runs).toBe(1);
});

describe("over sockets", () => {
  async function listening(app: Hono<Env>): Promise<HttpClient> {
    const server = await listen(createServer(getRequestListener(app.fetch)));
    const client = new HttpClient(server.port);
    onTestFinished(async () => {
      client.close();
      await server.stop();
    });
    return client;
  }

  it("what an outer layer makes of a body is sent whole, of replays and refusals as of first answers", async () => {
    const { app, layer } = service(async (c, next) => {
      await next();
      c.res = new Response(`outer:${await c.res.text()}`, c.res);
    });
    app.use(layer());
    app.post("/orders", (c) => c.json({ a: 1 }));
    const client = await listening(app);
    for (const mark of [undefined, "true", "true"]) {
      const answer = await client.send({ path: "/orders", key: "k" });
      expect([answer.text, answer.headers["content-length"]]).toEqual(['outer:{"a":1}', "13"]);
      expect(answer.headers["idempotent-replayed"]).toBe(mark);
    }
    const refused = await client.send({ path: "/orders", key: "k", body: "other" });
    expect([refused.status, refused.text.startsWith('outer:{"type"')]).toEqual([422, true]);
    expect(refused.headers["content-length"]).toBe(String(refused.body.length));
  });

  it("an answer of another server is given on, and replayed", async () => {
    const upstream = await listen(createServer((_req, res) => res.setHeader("X-Up", "1").end("up")));
    onTestFinished(() => upstream.stop());
    const { app, layer } = service();
    app.use(layer());
    app.post("/orders", () => fetch(`http://127.0.0.1:${upstream.port}/`));
    const client = await listening(app);
    for (const mark of [undefined, "true"]) {
      const answer = await client.send({ path: "/orders", key: "k" });
      expect([answer.status, answer.text, answer.headers["x-up"]]).toEqual([200, "up", "1"]);
      expect(answer.headers["idempotent-replayed"]).toBe(mark);
    }
  });

  it("pieces that come one after the other begin to go out at once", async () => {
    const { app, layer } = service();
    let isOver = false;
    app.use(layer());
    app.post("/orders", () => {
      const body = new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          if (isOver) controller.close();
          else controller.enqueue(piece("x"));
        },
      });
      return new Response(body);
    });
    const client = await listening(app);
    const sent = client.open({ path: "/orders", key: "k", headers: { "Content-Length": "0" } });
    sent.end();
    await new Promise<void>((resolve, reject) => {
      sent.on("error", reject);
      sent.on("response", (response) => {
        // It would never come to its end if its pieces were waited for.
        isOver = true;
        response.on("end", () => resolve()).resume();
      });
    });
    expect((await client.send({ path: "/orders", key: "k" })).headers["idempotent-replayed"]).toBe("true");
  });
});

describe("an answer that nobody reads", () => {
  it.each(["outer error", "another answer"])("does not keep its key for ever: %s", async (what) => {
    const { app, layer } = service(async (c, next) => {
      await next();
      if (!c.req.header("x-first")) return;
      if (what === "outer error") throw new Error("outer");
      c.res = undefined;
      c.res = new Response("other");
    });
    app.onError((_error, c) => c.text("failed", 500));
    app.use(layer({ leaseMs: 2_000, abandonAfterMs: 100 }));
    let runs = 0;
    app.post("/orders", () => {
      runs += 1;
      return new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(piece("p"));
            await new Promise((resolve) => setTimeout(resolve, 20));
            controller.enqueue(piece("q"));
            controller.close();
          },
        }),
      );
    });
    const first = await app.request(request({ headers: { "X-First": "1" } }));
    expect(["failed", "other"]).toContain(await first.text());
    await eventually(async () => seen(await app.request(request()))).toEqual([200, "pq", "true"]);
    expect(runs).toBe(1);
  });

  it("and that has no end is settled, and can be read on", async () => {
    const { wrap } = handlers();
    const call = wrap(
      () => new Response(new ReadableStream({ pull: (controller) => controller.enqueue(piece("x".repeat(10))) })),
      { leaseMs: 200, abandonAfterMs: 100, maxBodyBytes: 100 },
    );
    const first = await call(request());
    await eventually(async () => codeOf(await call(request()))).toBe("RESULT_NOT_REPLAYABLE");
    const reader = (first.body as ReadableStream<Uint8Array>).getReader();
    for (let read = 0; read < 30; read += 1) expect((await reader.read()).done).toBe(false);
    await reader.cancel();
  });
});

it("takes a handler that answers nothing for the error that Hono makes of it, each time", async () => {
  const { app, layer, storeCalls } = service();
  let runs = 0;
  const silent = (async () => {
    runs += 1;
  }) as never;
  app.onError((error, c) => c.text(error.message, 500));
  app.post("/plain", silent);
  app.use(layer());
  app.post("/orders", silent);
  const plain = await (await app.request("/plain", { method: "POST" })).text();
  expect(plain).toContain("not finalized");
  for (let again = 0; again < 2; again += 1) {
    const answer = await app.request(request());
    expect([answer.status, await answer.text()]).toEqual([500, plain]);
  }
  expect([runs, storeCalls]).toEqual([3, { claim: 2, release: 2 }]);
});
