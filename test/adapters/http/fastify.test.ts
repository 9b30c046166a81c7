import Fastify, { type FastifyInstance, type FastifyRequest, type preHandlerAsyncHookHandler } from "fastify";
import { expect, it, onTestFinished } from "vitest";
import { type HttpOptions, idempotency } from "../../../adapters/http/fastify.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { EvenkeelEvent } from "../../../src/index.ts";
import { layerOptions, serve } from "./fastify-service.ts";
import { problemCode } from "./http-client.ts";

/** A handler that counts its runs. */
function counter(): { readonly runs: number; readonly handler: () => Promise<{ run: number }> } {
  let runs = 0;
  return {
    get runs() {
      return runs;
    },
    handler: async () => ({ run: ++runs }),
  };
}

const authenticate: preHandlerAsyncHookHandler = async (request, reply) => {
  if (request.headers.authorization === undefined) return reply.code(401).send({ error: "Who are you?" });
};

const KNOWN = { Authorization: "Bearer alice" };

it.each<[string, (app: FastifyInstance, handler: () => unknown) => unknown]>([
  ["onRequest of the route", (app, handler) => app.post("/", { onRequest: authenticate }, handler)],
  ["preValidation of the route", (app, handler) => app.post("/", { preValidation: authenticate }, handler)],
  ["preHandler of the route", (app, handler) => app.post("/", { preHandler: authenticate }, handler)],
  ["a list of preHandlers", (app, handler) => app.post("/", { preHandler: [async () => {}, authenticate] }, handler)],
  [
    "a preHandler of the instance that is added after the route",
    (app, handler) => {
      app.post("/", handler);
      app.addHook("preHandler", authenticate);
    },
  ],
  [
    "a preHandler that a later plugin gives to routes",
    (app, handler) => {
      app.addHook("onRoute", (route) => {
        route.preHandler = authenticate;
      });
      app.post("/", handler);
    },
  ],
])("asks who it is before every replay: %s", async (_where, mount) => {
  const counted = counter();
  const { client, events } = await serve((app) => mount(app, counted.handler));
  expect((await client.send({ key: "k" })).status).toBe(401);
  expect(events).toEqual([]);
  expect((await client.send({ key: "k", headers: KNOWN })).text).toBe('{"run":1}');
  expect((await client.send({ key: "k" })).text).toBe('{"error":"Who are you?"}');
  const replay = await client.send({ key: "k", headers: KNOWN });
  expect([replay.text, replay.headers["idempotent-replayed"]]).toEqual(['{"run":1}', "true"]);
});

it("covers the routes of child plugins, under every path that they get, and each is a record of its own", async () => {
  const counted = counter();
  const { client } = await serve(async (app) => {
    for (const prefix of ["/a", "/b"]) {
      await app.register(async (child) => child.post("/", counted.handler), { prefix });
    }
    app.route({ method: ["PUT", "POST"], url: "/list", handler: counted.handler });
  });
  const paths = ["/a", "/a/", "/b", "/b/", "/list"];
  const answers = async () => Promise.all(paths.map(async (path) => (await client.send({ path, key: "k" })).text));
  const first = await answers();
  expect(new Set(first).size).toBe(paths.length);
  expect(await answers()).toEqual(first);
  const put = () => client.send({ path: "/list", method: "PUT", key: "k" });
  expect((await put()).text).not.toBe((await put()).text);
});

it("leaves the handlers of routes alone that it has nothing to do with", async () => {
  const { handler } = counter();
  const seen: unknown[] = [];
  await serve((app) => {
    app.addHook("onRoute", ({ method, handler: covered }) => void seen.push([method, covered === handler]));
    app.get("/", handler);
    app.post("/", handler);
    app.post("/off", { config: { idempotency: false } }, handler);
  });
  expect(seen).toEqual([
    ["GET", true],
    ["HEAD", true],
    ["POST", false],
    ["POST", true],
  ]);
});

it("calls handlers with the instance as this", async () => {
  const { client } = await serve((app) => {
    app.decorate("greeting", "hello");
    app.post("/", function () {
      return { greeting: Reflect.get(this, "greeting") };
    });
  });
  expect((await client.send({ key: "k" })).text).toBe('{"greeting":"hello"}');
  expect((await client.send({})).text).toBe('{"greeting":"hello"}');
});

it("refuses a request with a key on a route from before the plugin, rather than run it twice", async () => {
  const counted = counter();
  const app: FastifyInstance = Fastify();
  const store = memoryStore();
  onTestFinished(() => app.close());
  const sent = (url: string, key?: string) =>
    app.inject({ method: "POST", url, headers: key === undefined ? {} : { "idempotency-key": key } });
  // Not awaited, so that it comes after the routes.
  app.register(idempotency, layerOptions(store));
  app.post("/early", counted.handler);
  app.post("/exempt", { config: { idempotency: false } }, counted.handler);
  app.put("/early", counted.handler);
  await app.ready();
  const refused = await sent("/early", "k");
  expect([refused.statusCode, refused.json().code]).toEqual([500, "INVALID_OPTIONS"]);
  expect(refused.json().message).toMatch(/POST \/early was registered before the plugin/);
  expect(counted.runs).toBe(0);
  expect((await sent("/early")).statusCode).toBe(200);
  expect((await sent("/exempt", "k")).statusCode).toBe(200);
  expect((await app.inject({ method: "PUT", url: "/early", headers: { "idempotency-key": "k" } })).statusCode).toBe(
    200,
  );
  expect((await sent("/nowhere", "k")).statusCode).toBe(404);
});

it("takes options of a route, or none of the layer there", async () => {
  const counted = counter();
  const { client } = await serve(
    (app) => {
      app.post("/off", { config: { idempotency: false } }, counted.handler);
      app.post("/required", { config: { idempotency: { required: true } } }, counted.handler);
      app.put("/put", { config: { idempotency: { methods: ["PUT"], replayHeader: "X-Again" } } }, counted.handler);
    },
    { options: { replayHeader: "X-Replay" } },
  );
  const off = () => client.send({ path: "/off", key: "k" });
  expect((await off()).text).not.toBe((await off()).text);
  expect(problemCode(await client.send({ path: "/required" }))).toBe("KEY_MISSING");
  expect((await client.send({ path: "/required", key: "k" })).status).toBe(200);
  expect((await client.send({ path: "/required", key: "k" })).headers["x-replay"]).toBe("true");
  const put = () => client.send({ path: "/put", method: "PUT", key: "k" });
  expect((await put()).text).toBe((await put()).text);
  expect((await put()).headers["x-again"]).toBe("true");
});

it("leaves the config that a route was given as it was, and gives it to hooks and handlers", async () => {
  const config = { idempotency: { required: true }, audience: "partners" };
  const { client } = await serve((app) => {
    app.post("/", { config }, async (request) => request.routeOptions.config);
  });
  const seen = JSON.parse((await client.send({ key: "k" })).text);
  expect(seen).toEqual({ idempotency: { required: true }, audience: "partners", url: "/", method: "POST" });
  expect(Reflect.ownKeys(config)).toEqual(["idempotency", "audience"]);
});

it("says at once which option is wrong, of the plugin and of a route", async () => {
  const register = (options: unknown) =>
    Fastify()
      .register(idempotency, options as HttpOptions<FastifyRequest>)
      .ready();
  const store = memoryStore();
  await expect(register({ store })).rejects.toMatchObject({ code: "INVALID_OPTIONS", message: /scope must be/ });
  const prefixed = register({ ...layerOptions(store), prefix: "/v1" });
  await expect(prefixed).rejects.toMatchObject({ code: "INVALID_OPTIONS", message: /prefix is not an option/ });
  await serve((app) => {
    const add = (own: unknown) => () => app.post("/", { config: { idempotency: own as never } }, async () => 1);
    const thrown = (message: RegExp) =>
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringMatching(message) });
    expect(add({ maxBodyBytes: -1 })).toThrow(thrown(/^config\.idempotency: maxBodyBytes must be/));
    expect(add({ ttl: 1 })).toThrow(thrown(/ttl is not an option/));
    expect(add(true)).toThrow(thrown(/options must be an object/));
  });
});

it("lets the inner options hold where it is registered again in a child, and refuses a second time on one instance", async () => {
  const counted = counter();
  const inner: EvenkeelEvent[] = [];
  const { client, events, app } = await serve(async (outer) => {
    await outer.register(async (child) => {
      await child.register(idempotency, { ...layerOptions(memoryStore(), inner), replayHeader: "X-Inner" });
      child.post("/inner", counted.handler);
    });
    outer.post("/outer", counted.handler);
  });
  const send = (path: string) => client.send({ path, key: "k" });
  expect((await send("/inner")).text).toBe('{"run":1}');
  expect([inner.length, events.length]).toEqual([2, 0]);
  expect((await send("/inner")).headers["x-inner"]).toBe("true");
  expect((await send("/outer")).text).toBe('{"run":2}');
  expect((await send("/outer")).headers["idempotent-replayed"]).toBe("true");
  expect(app.hasPlugin("evenkeel/fastify")).toBe(true);
  const twice = Fastify();
  await twice.register(idempotency, layerOptions(memoryStore()));
  const again = twice.register(idempotency, layerOptions(memoryStore())).ready();
  await expect(again).rejects.toMatchObject({ code: "FST_ERR_DEC_ALREADY_PRESENT" });
});

it("looks at the HEAD that Fastify adds to a GET only where it is told to", async () => {
  const counted = counter();
  const { client, events } = await serve((app) => {
    app.get("/get", { config: { idempotency: { methods: ["GET"] } } }, counted.handler);
    app.get("/both", { config: { idempotency: { methods: ["GET", "HEAD"] } } }, counted.handler);
  });
  const head = (path: string) => client.send({ path, method: "HEAD", key: "k" });
  expect([(await head("/get")).status, (await head("/get")).headers["idempotent-replayed"]]).toEqual([200, undefined]);
  expect(events).toEqual([]);
  const first = await head("/both");
  const replay = await head("/both");
  expect([replay.status, replay.headers["idempotent-replayed"], replay.body.length]).toEqual([200, "true", 0]);
  expect(replay.headers["content-length"]).toBe(first.headers["content-length"]);
});

it("knows a route by the URL that the client sent, not by what rewriteUrl made of it", async () => {
  const counted = counter();
  const { client } = await serve((app) => app.post("/orders", counted.handler), {
    server: { rewriteUrl: () => "/orders" },
  });
  const send = async (path: string) => (await client.send({ path, key: "k" })).text;
  expect(await send("/v1/orders")).toBe('{"run":1}');
  expect(await send("/v2/orders")).toBe('{"run":2}');
  expect(await send("/v1/orders")).toBe('{"run":1}');
});

it("claims nothing for what Fastify refuses by itself: schemas, parsers, media types, unknown routes", async () => {
  const { client, events } = await serve((app) => {
    const schema = { body: { type: "object", required: ["amount"], properties: { amount: { type: "integer" } } } };
    app.post("/", { schema }, async () => ({ ok: true }));
  });
  const statuses = [
    await client.send({ key: "k", body: { amount: "many" } }),
    await client.send({ key: "k", body: "{", headers: { "Content-Type": "application/json" } }),
    await client.send({ key: "k", body: "a,b", headers: { "Content-Type": "text/csv" } }),
    await client.send({ key: "k", path: "/nowhere", body: { amount: 1 } }),
  ].map(({ status }) => status);
  expect(statuses).toEqual([400, 400, 415, 404]);
  expect(events).toEqual([]);
  expect((await client.send({ key: "k", body: { amount: 1 } })).status).toBe(200);
});

it("works under app.inject()", async () => {
  const counted = counter();
  const app: FastifyInstance = Fastify();
  onTestFinished(() => app.close());
  await app.register(idempotency, layerOptions(memoryStore()));
  app.post("/", async (request) => ({ ...(await counted.handler()), body: request.body }));
  const send = (payload: string) =>
    app.inject({
      method: "POST",
      url: "/",
      headers: { "idempotency-key": "k", "content-type": "application/json" },
      payload,
    });
  const first = await send('{"a":1,"b":2}');
  expect([first.statusCode, first.json()]).toEqual([200, { run: 1, body: { a: 1, b: 2 } }]);
  const replay = await send('{"b":2,"a":1}');
  expect([replay.statusCode, replay.body, replay.headers["idempotent-replayed"]]).toEqual([200, first.body, "true"]);
  expect(replay.headers["content-type"]).toBe(first.headers["content-type"]);
  const refused = await send('{"a":1,"a":1,"b":2}');
  expect([refused.statusCode, refused.json().code]).toEqual([422, "FINGERPRINT_MISMATCH"]);
});

it("refuses to be registered on a server of HTTP/2, which it does not speak", async () => {
  const app = Fastify({ http2: true });
  const registered = app.register(idempotency as never, layerOptions(memoryStore())).ready();
  await expect(registered).rejects.toMatchObject({ code: "INVALID_OPTIONS", message: /HTTP\/2/ });
});

it("gives the first client what its retries get, though the handler says more after its answer", async () => {
  const { client } = await serve((app) => {
    app.post("/code", (_request, reply) => {
      reply.code(201).send({ paid: true });
      reply.code(500);
      return reply;
    });
    app.post("/twice", { onSend: async (_request, _reply, payload) => payload }, (_request, reply) => {
      reply.send("one");
      reply.send("two");
      return reply;
    });
  });
  for (const path of ["/code", "/twice"]) {
    const [first, retry] = [await client.send({ path, key: "k" }), await client.send({ path, key: "k" })];
    expect([retry.status, retry.text]).toEqual([first.status, first.text]);
    expect([first.status, retry.headers["idempotent-replayed"]]).toEqual([path === "/code" ? 201 : 200, "true"]);
  }
});
