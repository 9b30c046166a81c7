import { request as sendRequest } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { type Service, serve } from "./fastify-service.ts";
import { problemCode } from "./http-client.ts";
import { expectProblem } from "./suite/expect-problem.ts";
import { gate } from "./suite/gate.ts";

type RouteHandler = (request: FastifyRequest, reply: FastifyReply) => unknown;

const typesOf = ({ events }: Service): string[] => events.map(({ type }) => type);

it("keeps what onSend hooks have made of an answer, runs them once for it, and onResponse hooks for every request", async () => {
  const sent: string[] = [];
  const responses: number[] = [];
  const { client } = await serve((app) => {
    app.addHook("onSend", async (_request, reply, payload) => {
      sent.push(String(payload));
      reply.header("X-Sent", String(sent.length));
      return `${payload}!`;
    });
    app.addHook("onResponse", async (_request, reply) => void responses.push(reply.statusCode));
    app.post("/", (_request, reply) => reply.code(201).send("made"));
  });
  const first = await client.send({ key: "k" });
  const replay = await client.send({ key: "k" });
  expectProblem(await client.send({ key: "k", path: "/?other" }), 422, "FINGERPRINT_MISMATCH", false);
  for (const answer of [first, replay]) expect([answer.text, answer.headers["x-sent"]]).toEqual(["made!", "1"]);
  expect(sent).toEqual(["made"]);
  expect(responses).toEqual([201, 201, 422]);
});

it("keeps what a response schema lets through", async () => {
  const schema = { response: { 200: { type: "object", properties: { shown: { type: "string" } } } } };
  const { client } = await serve((app) => app.post("/", { schema }, async () => ({ shown: "a", hidden: "b" })));
  for (let again = 0; again < 2; again += 1) expect((await client.send({ key: "k" })).text).toBe('{"shown":"a"}');
});

it("sends trailers with the first answer; a replay has none, and names none", async () => {
  const { app, client, port } = await serve((app) => {
    app.post("/", (_request, reply) => {
      reply.trailer("x-sum", async () => "3");
      return reply.type("text/plain").send("sum");
    });
  });
  const trailers = await new Promise((resolve, reject) => {
    const sent = sendRequest({ port, method: "POST", headers: { "Idempotency-Key": "k" } }, (response) => {
      response.resume().on("end", () => resolve(response.trailers));
    });
    sent.on("error", reject).end();
  });
  expect(trailers).toEqual({ "x-sum": "3" });
  const replay = await client.send({ key: "k" });
  expect([replay.text, replay.headers.trailer, replay.headers["content-type"]]).toEqual([
    "sum",
    undefined,
    "text/plain",
  ]);
  expect(app.server.listening).toBe(true);
});

it("frees the key of an error that a handler of errors answers with success, and keeps it where all is kept", async () => {
  let runs = 0;
  const { client } = await serve((app) => {
    app.setErrorHandler((_error, _request, reply) => reply.code(200).send({ sorry: runs }));
    const fail = (async () => {
      runs += 1;
      throw new Error("no luck");
    }) satisfies RouteHandler;
    app.post("/", fail);
    app.post("/sent", (_request, reply) => {
      runs += 1;
      reply.send(new Error("no luck"));
    });
    app.post("/all", { config: { idempotency: { record: "all" } } }, fail);
  });
  const texts = async (path: string) => [
    (await client.send({ path, key: "k" })).text,
    (await client.send({ path, key: "k" })).text,
  ];
  expect(await texts("/")).toEqual(['{"sorry":1}', '{"sorry":2}']);
  expect(await texts("/sent")).toEqual(['{"sorry":3}', '{"sorry":4}']);
  expect(await texts("/all")).toEqual(['{"sorry":5}', '{"sorry":5}']);
});

it("frees the key when the handler of errors fails itself, an onSend hook fails, or the route is not found after all", async () => {
  const { client, events } = await serve((app) => {
    app.post("/handler", { errorHandler: () => fail() }, async () => fail());
    app.post("/hook", { onSend: async () => fail() }, async () => "x");
    app.post("/missing", (_request, reply) => void reply.callNotFound());
  });
  for (const [path, status] of [
    ["/handler", 500],
    ["/hook", 500],
    ["/missing", 404],
  ] as const) {
    for (let again = 0; again < 2; again += 1) expect((await client.send({ path, key: "k" })).status).toBe(status);
    expect(events.splice(0).map(({ type }) => type)).toEqual(["claimed", "released", "claimed", "released"]);
  }
});

it("answers for its own scope with Fastify's error, unchanged, and without a claim", async () => {
  const errors: unknown[] = [];
  const thrown = Object.assign(new Error("who?"), { statusCode: 418 });
  const { client, events } = await serve(
    (app) => {
      app.addHook("onError", async (_request, _reply, error) => void errors.push(error));
      app.post("/", async () => "x");
    },
    {
      options: {
        scope: () => {
          throw thrown;
        },
      },
    },
  );
  const answer = await client.send({ key: "k" });
  expect([answer.status, JSON.parse(answer.text).message]).toEqual([418, "who?"]);
  expect(errors).toEqual([thrown]);
  expect(errors[0]).toBe(thrown);
  expect(events).toEqual([]);
});

it("runs no handler whose request Fastify's timeout has already answered, and has nothing to report", async () => {
  let runs = 0;
  const known = gate();
  const reported: string[] = [];
  const { client, events } = await serve(
    (app) => {
      app.addHook("onRequest", async (_request, reply) => void reply.header("X-Outer", "1"));
      app.post("/", { handlerTimeout: 500 }, async () => ({ runs: ++runs }));
    },
    {
      server: { logger: { level: "warn", stream: { write: (line: string) => reported.push(JSON.parse(line).msg) } } },
      options: {
        async scope() {
          await known.opened;
          return "";
        },
      },
    },
  );
  expect((await client.send({ key: "k" })).status).toBe(503);
  known.open();
  expect((await client.send({ key: "k" })).text).toBe('{"runs":1}');
  expect(events.map(({ type }) => type)).toEqual(["claimed", "completed"]);
  expect(reported).toEqual([expect.stringContaining("timed out")]);
});

it("runs no handler whose request was answered while it was claimed, and frees the key", async () => {
  let runs = 0;
  let requests = 0;
  const replies = new WeakMap<FastifyRequest, FastifyReply>();
  const service = await serve(
    (app) => {
      app.addHook("onRequest", async (request, reply) => void replies.set(request, reply));
      app.post("/", async () => ({ runs: ++runs }));
    },
    {
      options: {
        scope(request) {
          requests += 1;
          if (requests === 1) replies.get(request)?.code(503).send("early");
          return "";
        },
      },
    },
  );
  expect((await service.client.send({ key: "k" })).text).toBe("early");
  await eventually(() => typesOf(service)).toEqual(["claimed", "released"]);
  expect((await service.client.send({ key: "k" })).text).toBe('{"runs":1}');
});

it("frees the key when Fastify's timeout answers for a handler at work, unless that is kept", async () => {
  let runs = 0;
  const { client } = await serve((app) => {
    const slow: RouteHandler = async () => {
      runs += 1;
      await new Promise(() => {});
    };
    app.post("/", { handlerTimeout: 50 }, slow);
    app.post("/all", { handlerTimeout: 50, config: { idempotency: { record: "all" } } }, slow);
  });
  for (const path of ["/", "/all"]) {
    for (let again = 0; again < 2; again += 1) {
      const answer = await client.send({ path, key: "k" });
      expect([answer.status, JSON.parse(answer.text).code]).toEqual([503, "FST_ERR_HANDLER_TIMEOUT"]);
    }
  }
  expect(runs).toBe(3);
});

it("goes on when connectionTimeout closes the connection of a handler at work, and replays", async () => {
  let runs = 0;
  let timeouts = 0;
  const working = gate();
  const service = await serve(
    (app) => {
      app.addHook("onTimeout", async () => void timeouts++);
      app.post("/", async () => {
        runs += 1;
        await working.opened;
        return { runs };
      });
    },
    { server: { connectionTimeout: 500 } },
  );
  await expect(service.client.send({ key: "k" })).rejects.toThrow();
  expect(timeouts).toBe(1);
  working.open();
  await eventually(() => typesOf(service)).toEqual(["claimed", "completed"]);
  expect((await service.client.send({ key: "k" })).text).toBe('{"runs":1}');
});

/** Sends a request whose client leaves while the handler waits, and lets the handler go on when the server has seen it. */
async function leave(handler: (left: Promise<void>) => RouteHandler, options = {}): Promise<Service> {
  const started = gate();
  const left = gate();
  const handle = handler(left.opened);
  const service = await serve(
    (app) => {
      app.post("/", (request, reply) => {
        reply.raw.once("close", () => setImmediate(left.open));
        started.open();
        return handle(request, reply);
      });
    },
    { options },
  );
  const sent = service.client.begin({ key: "k" });
  await started.opened;
  sent.destroy();
  await left.opened;
  return service;
}

it.each<[string, (left: Promise<void>) => RouteHandler, number, string]>([
  [
    "nothing",
    (left) => async (_request, reply) => {
      await left;
      reply.code(204);
    },
    204,
    "",
  ],
  [
    "a value",
    (left) => async () => {
      await left;
      return { a: 1 };
    },
    200,
    '{"a":1}',
  ],
  [
    "its reply, and sends later",
    (left) => async (_request, reply) => {
      left.then(() => setTimeout(() => reply.code(201).send("late"), 20));
      return reply;
    },
    201,
    "late",
  ],
  [
    "nothing without a promise, and sends later",
    (left) => (_request, reply) => void left.then(() => reply.code(201).send("late")),
    201,
    "late",
  ],
  [
    "nothing after it has taken the response over",
    (left) => async (_request, reply) => {
      reply.hijack();
      left.then(() => setTimeout(() => reply.raw.writeHead(202).end("raw"), 20));
    },
    202,
    "raw",
  ],
])("replays the answer of a handler that, its client gone, returns %s", async (_what, handler, status, text) => {
  const service = await leave(handler);
  await eventually(() => typesOf(service)).toEqual(["claimed", "completed"]);
  const replay = await service.client.send({ key: "k" });
  expect([replay.status, replay.text, replay.headers["idempotent-replayed"]]).toEqual([status, text, "true"]);
});

it.each<[string, () => unknown]>([
  ["a stream", () => Readable.from(["one ", "two"])],
  ["a web stream", () => Readable.toWeb(Readable.from(["one ", "two"]))],
  ["a response", () => new Response(new Blob(["one ", "two"]).stream(), { status: 201 })],
])(
  "says that %s which Fastify has taken away, its client gone, can't be replayed, and runs nothing again",
  async (_what, make) => {
    let runs = 0;
    const service = await leave((left) => async () => {
      runs += 1;
      await left;
      return make();
    });
    await eventually(() => typesOf(service)).toEqual(["claimed", "tombstoned", "completed"]);
    expectProblem(await service.client.send({ key: "k" }), 409, "RESULT_NOT_REPLAYABLE", false);
    expect(runs).toBe(1);
  },
);

it("never runs again what a hijacked reply may have sent past the response", async () => {
  let runs = 0;
  const service = await serve(
    (app) => {
      app.post("/", (_request, reply) => {
        runs += 1;
        reply.hijack();
        reply.raw.socket?.end("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nraw");
      });
    },
    { options: { abandonAfterMs: 50 } },
  );
  expect((await service.client.send({ key: "k" })).text).toBe("raw");
  await eventually(async () => problemCode(await service.client.send({ key: "k" }))).toBe("RESULT_NOT_REPLAYABLE");
  expect(runs).toBe(1);
});

it("gives each of many waiting requests the headers that its own hooks have set", async () => {
  let requests = 0;
  const { client } = await serve(
    (app) => {
      app.addHook("onRequest", async (_request, reply) => {
        requests += 1;
        reply.header("X-Request", String(requests)).header("Set-Cookie", [`a=${requests}`, "b=1"]);
        reply.header("Vary", "Origin");
      });
      app.post("/", (_request, reply) => reply.header("Set-Cookie", "own=1").header("Vary", "Accept").send({ a: 1 }));
    },
    { options: { inFlight: "wait" } },
  );
  const answers = await Promise.all(Array.from({ length: 5 }, () => client.send({ key: "k" })));
  expect(new Set(answers.map(({ headers }) => headers["x-request"])).size).toBe(5);
  for (const { headers } of answers) {
    const own = headers["idempotent-replayed"] === undefined ? ["own=1"] : [];
    expect(headers["set-cookie"]).toEqual([`a=${headers["x-request"]}`, "b=1", ...own]);
    expect(headers.vary).toBe("Accept");
  }
});

function fail(): never {
  throw new Error("no luck");
}
